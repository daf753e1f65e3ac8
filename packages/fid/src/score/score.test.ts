import { join } from "node:path";
import { DataError, openFolder } from "@madformer/artifacts";
import { artifactOf, inFolder } from "../faces-net/testing.js";
import { FeatureFile, writeFeatures } from "../features/feature-file.js";
import { PUBLISHED_INCEPTION } from "../features/network-names.js";
import { frechetDistance } from "../frechet.js";
import { normals } from "../linalg/testing.js";
import { coverageOf } from "../metrics/coverage.js";
import { precisionRecall } from "../neighbours/precision-recall.js";
import { FeatureStatistics } from "../statistics/feature-statistics.js";
import { FeaturesArtifact, type FeatureFacts } from "./features-artifact.js";
import { floorOf, inOrder, summaryOf } from "./scores.js";
import { assertComparable, metricName } from "./side.js";

const DIMS = 3;
const signal = new AbortController().signal;

function cloud(rows: number, seed: number, shift = 0): Float32Array {
  const draw = normals(seed);
  return Float32Array.from({ length: rows * DIMS }, () => shift + draw());
}

/** Features in a file, while it is looked at. */
const withFeatures = <T>(sets: readonly Float32Array[], run: (files: FeatureFile[]) => Promise<T>): Promise<T> =>
  inFolder(async (folder) => {
    const files: FeatureFile[] = [];
    for (const [i, values] of sets.entries()) {
      const path = join(folder, `${i}.npy`);
      await writeFeatures([{ path, dims: DIMS }], [[values]]);
      files.push(await FeatureFile.open(path, values.length / DIMS, DIMS));
    }
    try {
      return await run(files);
    } finally {
      for (const file of files) await file[Symbol.asyncDispose]();
    }
  });

describe("metricName()", () => {
  const inception = { network: "inception", networkDigest: PUBLISHED_INCEPTION.sha256, dims: 2048 } as const;

  test("says FID of the published Inception network at 2048 channels", () => {
    expect(metricName(inception, inception)).toBe("FID");
  });

  test("says FID of the same weights from files of other formats, if one side had the published file", () => {
    const [converted, published] = [
      { ...inception, networkDigest: "a".repeat(64) },
      { ...inception, networkDigest: "a".repeat(64), published: true },
    ];
    expect(metricName(published, converted)).toBe("FID");
    expect(metricName(converted, published)).toBe("FID");
    expect(metricName(converted, converted)).toBe("FD (inception, other weights)");
    expect(metricName({ ...published, dims: 768 }, { ...converted, dims: 768 })).not.toBe("FID");
  });

  test("names the package whose resize it was, where that is not pytorch-fid's", () => {
    const clean = { ...inception, resizeName: "clean-fid" } as const;
    expect(metricName(clean, clean)).toBe("FID (clean-fid)");
    const fewer = { ...clean, dims: 768 };
    expect(metricName(fewer, fewer)).toBe("FD (inception, other weights)");
  });

  test("names no network where a side does not say it", () => {
    for (const [a, b] of [
      [inception, undefined] as const,
      [undefined, inception] as const,
      [undefined, undefined] as const,
    ])
      expect(metricName(a, b)).toBe("FD (network not known)");
  });

  test.each([
    ["the network of the drawn faces", { network: "faces-net" as const }],
    ["other weights", { networkDigest: PUBLISHED_INCEPTION.sha256.replace(/.$/, "0") }],
    ["weights that share the first digits", { networkDigest: "6726825d".padEnd(64, "0") }],
    ["fewer channels", { dims: 768 }],
  ])("never says FID of %s", (_, change) => {
    const changed = { ...inception, ...change };
    const name = metricName(changed, changed);
    expect(name).toMatch(/^FD \(/);
    expect(name).not.toContain("FID");
  });
});

describe("assertComparable()", () => {
  const facts = { network: "faces-net", networkDigest: "a".repeat(64), dims: 64, resize: "none" } as FeatureFacts;

  test("takes features of one network, and names both otherwise", () => {
    const compare = (a: FeatureFacts, b: FeatureFacts): void =>
      assertComparable({ facts: a, dims: a.dims }, { facts: b, dims: b.dims });
    expect(() => compare(facts, { ...facts, groups: [] })).not.toThrow();
    const tail = { ...facts, networkDigest: `${"a".repeat(63)}b` };
    for (const other of [{ ...facts, dims: 128 }, { ...facts, network: "inception" as const }, tail])
      expect(() => compare(facts, other)).toThrow(DataError);
    expect(() => compare(facts, { ...facts, network: "inception", networkDigest: "b".repeat(64) })).toThrow(
      "the reference's features are of faces-net aaaaaaaaaaaa (64 channels, resize none), those of the samples of inception bbbbbbbbbbbb",
    );
  });

  test("compares the channels of statistics that say no network", () => {
    const [known, unknown] = [
      { facts, dims: 64 },
      { facts: undefined, dims: 64 },
    ] as const;
    for (const [a, b] of [[known, unknown] as const, [unknown, known] as const, [unknown, unknown] as const])
      expect(() => assertComparable(a, b)).not.toThrow();
    expect(() => assertComparable({ ...unknown, dims: 2048 }, known)).toThrow(
      "the reference's features are of 2048 channels of a network that is not known, those of the samples of faces-net aaaaaaaaaaaa (64",
    );
  });
});

describe("FeaturesArtifact", () => {
  test.each([
    ["no digest", { networkDigest: "abc" }],
    ["no groups", { groups: [] }],
    ["a group that leads elsewhere", { groups: [{ name: "../up", images: 5 }] }],
    ["a group of one image", { groups: [{ name: "a", images: 1 }] }],
    ["another network", { network: "vgg" }],
  ])("refuses facts with %s", (_, change) =>
    inFolder(async (folder) => {
      const source = { stage: "shards", digest: "", facts: {} };
      const about = { network: "faces-net", networkDigest: "a".repeat(64), dims: 64, resize: "none", source };
      const facts = { ...about, groups: [{ name: "a", images: 5 }] };
      expect(() =>
        FeaturesArtifact.of({ ...artifact, manifest: { ...artifact.manifest, facts } }, "samples"),
      ).not.toThrow();
      const broken = await artifactOf(folder, "features", { ...facts, ...change });
      expect(() => FeaturesArtifact.of(broken, "samples")).toThrow(DataError);
      expect(() => FeaturesArtifact.of(broken, "samples")).toThrow('the input "samples" is of stage "features"');
    }),
  );
  let artifact: Awaited<ReturnType<typeof openFolder>>;
  beforeAll(() => inFolder(async (folder) => void (artifact = await openFolder(folder))));
});

describe("floorOf()", () => {
  const floor = (rows: FeatureFile, samples: number, seed = 0, more: object = {}) =>
    floorOf({ rows, ...more }, samples, { limit: 1000, neighbours: 3, seed, signal });

  test("compares as many reference images as there are samples with the others", () => {
    const values = cloud(1000, 1);
    return withFeatures([values], async ([file]) => {
      const found = await floor(file!, 100);
      expect(found).toMatchObject({ samples: 100, referenceImages: 900 });
      expect(await floor(file!, 100)).toEqual(found);
      expect((await floor(file!, 100, 1))!.distance).not.toBe(found!.distance);
      // For Gaussians of unit variance about 2 · dims / n, here of order 0.05: not 0, and far from 1.
      expect(found!.distance).toBeGreaterThan(0.001);
      expect(found!.distance).toBeLessThan(0.3);
    });
  });

  test("has every metric of the same images", () => {
    const classifier = { attributes: [{ name: "sign", classes: 2 }], weight: Float32Array.of(1, 0, 0, -1, 0, 0) };
    return withFeatures([cloud(400, 1), cloud(400, 2)], async ([file, spatial]) => {
      const found = await floor(file!, 100, 0, { spatial, classifier });
      const { numbers } = found!;
      const known = ["isc", "kid", "mind", "precision", "recall", "sfid"];
      expect(Object.keys(numbers)).toEqual(expect.arrayContaining(known));
      expect(numbers).toMatchObject({ neighbourImages: 100, mindImages: 100, kidSubset: 50 });
      expect(numbers["isc"]).toBeGreaterThan(1.01);
      expect(numbers["isc"]).toBeLessThan(2);
      expect(numbers["sfid"]).not.toBe(found!.distance);
      expect(numbers["sfid"]).toBeLessThan(0.3);
      expect((await floor(file!, 100, 0, { spatial: file }))!.numbers["sfid"]).toBe(found!.distance);
    });
  });

  test("of images sorted by their kind chooses from all of them", () => {
    const values = Float32Array.from([...cloud(300, 1), ...cloud(300, 2, 50)]);
    // Parted in the middle they would be 50 apart in each dimension.
    return withFeatures([values], async ([file]) => {
      expect((await floor(file!, 300))!.distance).toBeLessThan(0.01 * DIMS * 50 ** 2);
    });
  });

  test("takes half of them at most, and none where there are too few", () =>
    withFeatures([cloud(9, 1), cloud(3, 1)], async ([nine, three]) => {
      expect(await floor(nine!, 100)).toMatchObject({ samples: 4, referenceImages: 5 });
      expect(await floor(three!, 100)).toBeUndefined();
    }));
});

describe("coverageOf()", () => {
  const options = { limit: 1000, neighbours: 3, seed: 0, signal };

  test("is precision and recall of equally many on both sides", () => {
    const [reference, samples] = [cloud(60, 1), cloud(40, 2)];
    return withFeatures([reference, samples], async ([a, b]) => {
      const found = await coverageOf(a!, b!, options);
      expect(found!.images).toBe(40);
      // All of the samples, and 40 of the reference: that many at least are covered as by all 60 of them, or not.
      expect(await coverageOf(a!, b!, options)).toEqual(found);
      const all = await coverageOf(b!, b!, options);
      expect(all).toEqual({ precision: 1, recall: 1, images: 40 });
    });
  });

  test("of all images is that of all images", () => {
    const [reference, samples] = [cloud(50, 1), cloud(50, 2, 0.7)];
    return withFeatures([reference, samples], async ([a, b]) => {
      const expected = await precisionRecall(reference, samples, DIMS, { neighbours: 2 });
      expect(await coverageOf(a!, b!, { ...options, neighbours: 2 })).toEqual({ ...expected, images: 50 });
      expect(expected.precision).not.toBe(expected.recall);
    });
  });

  test("is left out where there are too few images, or none are wanted", () =>
    withFeatures([cloud(3, 1), cloud(40, 2)], async ([few, many]) => {
      expect(await coverageOf(few!, many!, options)).toBeUndefined();
      expect(await coverageOf(many!, few!, options)).toBeUndefined();
      expect(await coverageOf(many!, many!, { ...options, limit: 0 })).toBeUndefined();
      expect((await coverageOf(many!, many!, { ...options, limit: 4 }))!.images).toBe(4);
    }));
});

describe("inOrder() and summaryOf()", () => {
  const group = (name: string, distance: number, step?: number, weights?: string) => ({
    name,
    samples: 10,
    distance,
    numbers: {},
    ...(step === undefined ? {} : { step }),
    ...(weights === undefined ? {} : { weights }),
  });

  test("orders by step, as numbers, groups without one first", () => {
    const groups = [group("c", 1, 1000), group("x", 1), group("b", 1, 200), group("y", 1)];
    expect(inOrder(groups).map(({ name }) => name)).toEqual(["x", "y", "b", "c"]);
  });

  test("takes the mean over the last ones, or as many as there are", () => {
    const scores = [group("a", 9, 1), group("b", 5, 2), group("c", 4, 3), group("d", 3, 4)];
    expect(summaryOf(scores, 3)).toEqual({ group: "d", final: 3, mean: 4, last: 3 });
    expect(summaryOf(scores.slice(0, 2), 3)).toEqual({ group: "b", final: 5, mean: 7, last: 2 });
  });

  test("does not mix averaged weights with raw ones", () => {
    const scores = [group("a", 8, 1, "ema"), group("b", 100, 2, "raw"), group("c", 4, 3, "ema")];
    expect(summaryOf(scores, 2)).toEqual({ group: "c", final: 4, mean: 6, last: 2 });
  });
});

test("a distance of files is that of their statistics", () => {
  const statistics = (values: Float32Array): FeatureStatistics => {
    const counted = new FeatureStatistics(DIMS);
    counted.add(values);
    return counted;
  };
  const [a, b] = [cloud(80, 1), cloud(80, 2, 1)];
  // Closed form for means apart: |mu1 - mu2|² is about 3 · 1², covariances are nearly equal.
  expect(frechetDistance(statistics(a).gaussian(), statistics(b).gaussian())).toBeCloseTo(3, -1);
});

import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  encodePng,
  openFile,
  openFolder,
  openSafetensors,
  readNpy,
  torchTensor,
  writeNpy,
  writeNpz,
  writeSafetensors,
  writeTorch,
  type Artifact,
  type TensorInput,
} from "@madformer/artifacts";
import { PROGRESS_FILE } from "@madformer/stage";
import { FacesNetExtractor } from "../faces-net/extractor.js";
import { readFacesNet } from "../faces-net/file.js";
import { artifactOf, contextIn, squarePixels, squareShards } from "../faces-net/testing.js";
import { frechetDistance } from "../frechet.js";
import { drawnTensors } from "../inception/testing.js";
import { FeatureStatistics } from "../statistics/feature-statistics.js";
import { readStatistics, writeStatistics } from "../statistics/file.js";
import { stage as facesNet } from "./faces-net.js";
import { stage as features } from "./features.js";
import { stage as score } from "./score.js";

const SIDE = 32;
const IMAGES = 240;
const SAMPLES = 100;

// One network, made once, serves all tests.
let folder = "";
let shards: Artifact;
let net: Artifact;
let reference: Artifact;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "fid-"));
  shards = await squareShards(join(folder, "shards"), IMAGES, SIDE);
  const config = facesNet.config.parse({ steps: 120, dims: 64 });
  const facts = await facesNet.run(config, { shards }, await contextIn(join(folder, "net")));
  net = await artifactOf(join(folder, "net"), "faces-net", facts);
  reference = await featuresIn("reference", shards);
});
afterAll(() => rm(folder, { recursive: true }));

/** Runs `features` into a folder, and opens what it made. */
async function featuresIn(name: string, images: Artifact, config: object = {}): Promise<Artifact> {
  const out = join(folder, name);
  const facts = await features.run(features.config.parse(config), { images, net }, await contextIn(out));
  return artifactOf(out, "features", facts);
}

/** Pictures as a sampler leaves them: a folder for each checkpoint. */
async function samplesIn(name: string, groups: Readonly<Record<string, (i: number) => Uint8Array>>): Promise<Artifact> {
  const facts = [];
  for (const [group, draw] of Object.entries(groups)) {
    const inside = join(folder, name, group);
    await mkdir(inside, { recursive: true });
    for (let i = 0; i < SAMPLES; i++)
      await writeFile(join(inside, `${String(i).padStart(8, "0")}.png`), await encodePng(draw(i), SIDE, SIDE));
    facts.push({ name: group, step: Number(/\d+/.exec(group)?.[0]), folder: group, images: SAMPLES, weights: "ema" });
  }
  return artifactOf(join(folder, name), "sample", { groups: facts, solver: "ddim", steps: 25 });
}

const square = (i: number): Uint8Array => squarePixels(5000 + i, SIDE).pixels;
const dimmed = (share: number) => (i: number) => square(i).map((x) => 128 + (x - 128) * share);

describe("stage faces-net", () => {
  test("makes a network that knows what it has not seen, and says how well", async () => {
    const { facts } = net.manifest;
    expect(facts).toMatchObject({ dims: 64, side: SIDE, steps: 120, trainImages: 216, heldOutImages: 24 });
    const { accuracy, majority, explained } = facts as Record<string, Record<string, number>>;
    expect(Object.keys(accuracy!)).toEqual(["color", "outlined"]);
    expect(accuracy!["color"]).toBeGreaterThan(0.85);
    expect(accuracy!["outlined"]).toBeGreaterThan(0.85);
    expect(majority!["color"]).toBeLessThan(0.7);
    expect(explained!["left"]).toBeGreaterThan(0.8);
    expect(facts["leftOut"]).toEqual({ kind: 'it is "square" in all images' });
  });

  test("writes its description, its weights and a loss for each step, and nothing else", async () => {
    expect(net.files).toEqual(["losses.jsonl", "net.json", "net.safetensors"]);
    const lines = (await readFile(await net.path("losses.jsonl"), "utf8")).trim().split("\n");
    const losses = lines.map((line) => JSON.parse(line) as { step: number; loss: number; learningRate: number });
    expect(losses.map(({ step }) => step)).toEqual(Array.from({ length: 120 }, (_, i) => i + 1));
    expect(losses.at(-1)!.loss).toBeLessThan(0.5 * losses[0]!.loss);
    expect(losses[5]!.learningRate).toBe(4e-3); // the warm-up ends with step 6
    expect(losses[4]!.learningRate).toBeCloseTo((4e-3 * 5) / 6, 10);
    const { labels } = JSON.parse(await readFile(await net.path("net.json"), "utf8")) as { labels: { name: string }[] };
    expect(labels.map(({ name }) => name)).toEqual(["color", "left", "outlined"]);
  });

  test("stopped anywhere, goes on to the same weights, bit for bit", async () => {
    const config = facesNet.config.parse({ steps: 12, dims: 64, batchImages: 8, checkpointSteps: 5 });
    const weightsOf = async (name: string): Promise<Buffer> => readFile(join(folder, name, "net.safetensors"));
    await facesNet.run(config, { shards }, await contextIn(join(folder, "whole")));
    const controller = new AbortController();
    const context = await contextIn(join(folder, "parted"), controller.signal);
    for (const [stopAt, from] of [
      [3, 0],
      [7, 3],
    ] as const) {
      const stopping = new AbortController();
      const progress = (_: string, step: number): void => {
        if (step === stopAt) stopping.abort(new Error("stop"));
      };
      const parted = { ...context, signal: stopping.signal, log: { ...context.log, progress } };
      await expect(facesNet.run(config, { shards }, parted)).rejects.toThrow("stop");
      expect(context.lines).toContainEqual(expect.stringContaining("left out"));
      if (from > 0) expect(context.lines).toContain(`going on from step ${from} of 12`);
    }
    // Killed without a word after step 10: what is there is the state of step 10, kept by itself.
    const steps: number[] = [];
    const progress = (_: string, step: number): void => {
      steps.push(step);
      if (step === 11) throw new Error("killed");
    };
    const killed = { ...context, log: { ...context.log, progress } };
    await expect(facesNet.run(config, { shards }, killed)).rejects.toThrow("killed");
    expect(steps).toEqual([8, 9, 10, 11]);
    const kept = join(folder, "parted", "tmp", "checkpoint.safetensors");
    const tensors: Record<string, TensorInput> = {};
    await using state = await openSafetensors(kept);
    expect(state.metadata["step"]).toBe("10");
    for (const name of state.names) tensors[name] = await state.read(name);

    // A state that is not finite is none to go on from, wherever it is so.
    for (const name of ["told", state.names.find((name) => name.startsWith("state/params/"))!]) {
      const { shape, data } = tensors[name] as { shape: readonly number[]; data: Float32Array };
      const bad = { shape, data: data.map((x, i) => (i === 2 ? NaN : x)) };
      await writeSafetensors(kept, { ...tensors, [name]: bad }, { ...state.metadata });
      await context.files.keep(PROGRESS_FILE);
      await expect(facesNet.run(config, { shards }, context)).rejects.toThrow(
        `Cannot read ${JSON.stringify(kept)}: tensor "${name}" is not finite: 1 of ${data.length} elements, the first is NaN at index 2`,
      );
    }
    await writeSafetensors(kept, tensors, { ...state.metadata });
    await context.files.keep(PROGRESS_FILE);

    await facesNet.run(config, { shards }, context);
    expect(context.lines).toContain("going on from step 10 of 12");
    expect(await weightsOf("parted")).toEqual(await weightsOf("whole"));
    const losses = (name: string): Promise<string> => readFile(join(folder, name, "losses.jsonl"), "utf8");
    expect(await losses("parted")).toBe(await losses("whole"));
    expect(await readdir(join(folder, "parted", "tmp"))).toEqual([]);
  });

  test("starts again where the state is of another config", async () => {
    const run = async (steps: number, context: Awaited<ReturnType<typeof contextIn>>): Promise<void> => {
      await facesNet.run(facesNet.config.parse({ steps, dims: 64, batchImages: 8 }), { shards }, context);
    };
    const stopping = new AbortController();
    const stopped = await contextIn(join(folder, "other"), stopping.signal);
    const progress = (): void => stopping.abort(new Error("stop"));
    await expect(run(4, { ...stopped, log: { ...stopped.log, progress } })).rejects.toThrow("stop");
    expect(stopped.files.has(PROGRESS_FILE)).toBe(true);
    const context = await contextIn(join(folder, "other"));
    await run(3, context);
    expect(context.lines.filter((line) => line.startsWith("going on"))).toEqual([]);
  });
});

describe("stage features", () => {
  test("writes the network's features of shards in their order, and their statistics", async () => {
    const made = reference;
    expect(made.files).toEqual(["classifier.npz", "images/features.npy", "images/statistics.npz"]);
    const { facts } = made.manifest;
    expect(facts).toMatchObject({
      network: "faces-net",
      dims: 64,
      resize: "none: 32 x 32",
      groups: [{ name: "images", images: IMAGES }],
      source: { digest: shards.digest },
    });
    const { data, shape } = await readNpy(await made.path("images/features.npy"));
    expect(shape).toEqual([IMAGES, 64]);

    const paths = { description: await net.path("net.json"), weights: await net.path("net.safetensors") };
    await using extractor = await FacesNetExtractor.create(await readFacesNet(paths), { batchImages: 3 });
    const last = await extractor.features(squarePixels(IMAGES, SIDE).pixels);
    // Convolutions of other batches add in another order.
    last.forEach((x, i) => expect(data[(IMAGES - 1) * 64 + i]).toBeCloseTo(x, 4));

    const statistics = new FeatureStatistics(64);
    statistics.add(data as Float32Array);
    expect(await readStatistics(await made.path("images/statistics.npz"))).toEqual(statistics.gaussian());
  });

  test("goes on with the groups that are not whole, and to the same bytes", async () => {
    const samples = await samplesIn("resumed-samples", { "step-100": square, "step-200": dimmed(0.5) });
    const made = await featuresIn("resumed", samples);
    const before = made.manifest.files;
    await rm(join(folder, "resumed", "step-200", "statistics.npz")); // killed before it was written
    const again = await featuresIn("resumed", samples);
    expect(again.manifest).toEqual(made.manifest);
    expect(again.manifest.files).toEqual(before);
  });

  test("takes the first images alone where it is told so", async () => {
    const made = await featuresIn("limited", shards, { limit: 25, batchImages: 10 });
    expect(made.manifest.facts["groups"]).toEqual([{ name: "images", images: 25 }]);
    const few = await readNpy(await made.path("images/features.npy"));
    const whole = await readNpy(await reference.path("images/features.npy"));
    expect(few.shape).toEqual([25, 64]);
    expect(few.data).toEqual((whole.data as Float32Array).subarray(0, 25 * 64));
  });

  test("says what is missing", async () => {
    const run = async (config: object, input: { images: Artifact; net?: Artifact }) =>
      features.run(
        features.config.parse(config),
        { net: undefined, ...input },
        await contextIn(join(folder, "missing")),
      );
    await expect(run({}, { images: shards })).rejects.toThrow('the input "net" is missing');
    await expect(run({ network: "inception" }, { images: shards })).rejects.toThrow(
      /"weights" is not set, expected a path or URL of pt_inception-2015-12-05-6726825d\.pth .*github\.com\/mseitzer/,
    );
    await expect(run({}, { images: net, net })).rejects.toThrow("expected image shards, samples or a folder of images");
    const other = await squareShards(join(folder, "other-side"), 3, 48);
    await expect(run({}, { images: other, net })).rejects.toThrow("48 x 48 pixels, expected 32 x 32");
    const one = await squareShards(join(folder, "one"), 1, SIDE);
    await expect(run({}, { images: one, net })).rejects.toThrow('"images": it holds 1 image, expected 2 or more');
  });
});

test("the stages say which fields have no effect", () => {
  const idle = (config: object): string[] =>
    Object.keys(features.idle!(features.config.parse(config), new Set(["images", "net"])));
  expect(idle({})).toEqual(["weights", "sha256", "inceptionDims", "resize", "spatial"]);
  expect(idle({ network: "inception" })).toEqual(["net"]);
  const of = (config: object): object => score.idle!(score.config.parse(config), new Set(["reference", "samples"]));
  expect(of({})).toEqual({});
  expect(Object.keys(of({ neighbourImages: 0 }))).toEqual(["neighbours"]);
});

describe("stage score", () => {
  test("finds worse samples worse, and says all it needs to be believed", async () => {
    const samples = await featuresIn(
      "samples-features",
      await samplesIn("samples", { "step-300": square, "step-20": dimmed(0.6), "step-100": dimmed(0.8) }),
    );
    const context = await contextIn(join(folder, "score"));
    const facts = await score.run(score.config.parse({ last: 2 }), { reference, samples }, context);

    type Group = Record<"step" | "distance" | "precision" | "recall" | "kid" | "mind", number>;
    const groups = facts["groups"] as Group[];
    expect(groups.map(({ step }) => step)).toEqual([20, 100, 300]);
    const [worst, better, best] = groups as [Group, Group, Group];
    expect(worst.distance).toBeGreaterThan(1.5 * better.distance);
    expect(better.distance).toBeGreaterThan(1.5 * best.distance);
    expect(best.precision).toBeGreaterThan(worst.precision);
    expect(best.recall).toBeGreaterThan(0.5);
    const meaning = expect.stringMatching(/^[A-Z].*\.$/) as unknown;
    expect(facts["measures"]).toEqual({
      precision: { label: "Precision", best: "higher", isShare: true, meaning },
      recall: { label: "Recall", best: "higher", isShare: true, meaning },
      kid: { label: "Kernel distance (KID)", best: "lower", meaning },
      mind: { label: "Sliced Wasserstein distance (MIND)", best: "lower", meaning },
      isc: { label: "Class score (inception score)", best: "higher", meaning },
    });
    for (const name of ["kid", "mind"] as const) {
      expect(worst[name]).toBeGreaterThan(1.5 * better[name]);
      expect(better[name]).toBeGreaterThan(best[name]);
    }
    expect(facts).toMatchObject({
      metric: "FD (faces-net)",
      group: "step-300",
      final: best.distance,
      mean: (better.distance + best.distance) / 2,
      last: 2,
      referenceImages: IMAGES,
      floor: { samples: SAMPLES, referenceImages: IMAGES - SAMPLES, neighbourImages: SAMPLES },
    });
    const floor = facts["floor"] as Group;
    for (const name of ["distance", "kid", "mind"] as const) expect(floor[name]).toBeLessThan(worst[name]);
    expect(floor.precision).toBeGreaterThan(worst.precision);
    expect(groups[2]).toMatchObject({ samples: SAMPLES, neighbourImages: SAMPLES, weights: "ema" });

    const expected = frechetDistance(
      await readStatistics(await reference.path("images/statistics.npz")),
      await readStatistics(await samples.path("step-300/statistics.npz")),
    );
    expect(best.distance).toBe(expected);

    const text = await readFile(join(folder, "score", "scores.json"), "utf8");
    const { lineage, ...rest } = JSON.parse(text) as { lineage: unknown };
    expect(rest).toEqual(facts);
    expect(lineage).toMatchObject({
      network: { name: "faces-net", digest: reference.manifest.facts["networkDigest"] },
      reference: { features: reference.digest, digest: shards.digest },
      samples: { features: samples.digest, stage: "sample", facts: { solver: "ddim", steps: 25 } },
    });
  });

  test("has the spread over sets of seeds, and scores against network evaluations", async () => {
    const squares = await samplesIn("sets", {
      "steps-1": dimmed(0.5),
      "repeat-1": (i) => square(i + 900),
      "repeat-2": (i) => square(i + 1900),
      "step-7": square,
    });
    const about = [
      { role: "steps", steps: 1, nfe: 4, step: 7 },
      { role: "repeat", steps: 2, nfe: 8, step: 7 },
      { role: "repeat", steps: 2, nfe: 8, step: 7 },
      { steps: 2, nfe: 8 },
    ];
    const told = (squares.manifest.facts["groups"] as object[]).map((group, i) => ({ ...group, ...about[i] }));
    const samples = await featuresIn(
      "sets-features",
      await artifactOf(join(folder, "sets"), "sample", { groups: told }),
    );
    const context = await contextIn(join(folder, "sets-score"));
    const run = async (config: object) =>
      (await score.run(score.config.parse(config), { reference, samples }, context)) as Record<string, unknown>;
    const facts = await run({});
    const [final, ...others] = facts["groups"] as { name: string; distance: number }[];
    expect([final!.name, others]).toEqual(["step-7", []]);
    expect(facts).toMatchObject({ final: final!.distance, mean: final!.distance, last: 1 });
    const { sets, mean, std } = facts["spread"] as Record<"mean" | "std", Record<string, number>> & { sets: number };
    expect(sets).toBe(3);
    expect(std["distance"]).toBeGreaterThan(0);
    expect(Math.abs(mean["distance"]! - final!.distance)).toBeLessThan(2 * std["distance"]!);
    expect(Object.keys(mean)).toEqual(["distance", "precision", "recall", "kid", "mind", "isc"]);
    const [few, many] = facts["nfe"] as { steps: number; distance: number }[];
    expect([few!.steps, many!.steps, many!.distance]).toEqual([1, 2, final!.distance]);
    expect(few!.distance).toBeGreaterThan(1.5 * many!.distance);
    const table = await readFile(join(folder, "sets-score", "nfe.md"), "utf8");
    expect(table.split("\n")[2]).toMatch(/^\| 1 \| 4 \| [\d.]+ \| /);
    expect(context.lines).toContainEqual(expect.stringContaining(table));
    const without = await run({ nfe: false });
    expect(without).not.toHaveProperty("nfe");
    expect(without["spread"]).toEqual(facts["spread"]);
  });

  test("takes pytorch-fid's statistics on either side, and leaves out what needs features", async () => {
    const npz = join(folder, "reference.npz");
    await cp(await reference.path("images/statistics.npz"), npz);
    await cp(npz, join(folder, "kept", "fid-stats.npz"));
    const samples = await featuresIn("npz-samples", await samplesIn("of-npz", { "step-9": dimmed(0.7) }));
    const context = await contextIn(join(folder, "npz-score"));
    const run = (reference: Artifact, samples: Artifact) =>
      score.run(score.config.parse({}), { reference, samples }, context);
    const usual = await run(reference, samples);
    const facts = await run(await openFile(npz), samples);
    expect(facts).toEqual({
      metric: "FD (network not known)",
      group: "step-9",
      final: usual["final"],
      mean: usual["final"],
      last: 1,
      groups: [
        {
          ...{ name: "step-9", step: 9, weights: "ema", samples: SAMPLES, distance: usual["final"] },
          ...{ isc: expect.any(Number) as unknown, iscStd: expect.any(Number) as unknown }, // of the samples alone
        },
      ],
      measures: { isc: expect.objectContaining({ label: "Class score (inception score)" }) as unknown },
      floor: null,
    });
    expect(context.lines).toContainEqual(
      expect.stringMatching(/^which network made the statistics of the reference is not/),
    );
    const { lineage } = JSON.parse(await readFile(join(folder, "npz-score", "scores.json"), "utf8")) as {
      lineage: unknown;
    };
    expect(lineage).toMatchObject({ network: null, samples: { features: samples.digest } });
    expect(lineage).toHaveProperty("reference.statistics");

    const back = await run(reference, await openFolder(join(folder, "kept")));
    expect(back).toMatchObject({ referenceImages: IMAGES, floor: null, groups: [{ name: "statistics" }] });
    expect(back["final"]).toBeCloseTo(0, 6);
    expect(Object.keys((back["groups"] as object[])[0]!)).toEqual(["name", "distance"]);

    await writeStatistics(join(folder, "narrow.npz"), { mu: new Float64Array(2), sigma: Float64Array.of(1, 0, 0, 1) });
    await expect(run(await openFile(join(folder, "narrow.npz")), samples)).rejects.toThrow(
      /^Cannot score: the reference's features are of 2 channels of a network that is not known, those of the samples of faces-net/,
    );
    await cp(npz, join(folder, "kept", "second.npz"));
    await expect(run(await openFolder(join(folder, "kept")), samples)).rejects.toThrow(
      'the input "reference" holds 2 .npz files, "fid-stats.npz" among them, expected one: give its path',
    );
    await writeNpz(npz, { arr_0: { shape: [1], data: new Float64Array(1) } });
    await expect(run(await openFile(npz), samples)).rejects.toThrow("it holds arr_0, expected mu and sigma");
  });

  test("of Inception's features by other weights has its own name, and takes them from files of any format", async () => {
    const [weights, torch] = [join(folder, "drawn.safetensors"), join(folder, "drawn.pth")];
    const tensors = Object.fromEntries(drawnTensors(64));
    await writeSafetensors(weights, tensors);
    const state = Object.entries(tensors).map(([name, tensor]) => [name, torchTensor(tensor)] as const);
    await writeTorch(torch, new Map(state));
    const config = { network: "inception", weights, inceptionDims: 64, batchImages: 3, limit: 7 };
    const made = await featuresIn("inception", shards, config);
    expect(made.manifest.facts).toMatchObject({
      network: "inception",
      dims: 64,
      resize: "bilinear to 299 x 299 without antialiasing, in the network",
      groups: [{ name: "images", images: 7 }],
    });
    const context = await contextIn(join(folder, "inception-score"));
    expect(made.manifest.facts).not.toHaveProperty("published");
    const samples = await featuresIn("inception-torch", shards, { ...config, weights: torch });
    expect(samples.manifest.facts["networkDigest"]).toBe(made.manifest.facts["networkDigest"]);
    const facts = await score.run(score.config.parse({}), { reference: made, samples }, context);
    expect(facts["metric"]).toBe("FD (inception, other weights)");
    expect(facts["final"]).toBeCloseTo(0, 6);
  });

  test("gives no score that is not finite: names the file, the group or the floor", async () => {
    const copied = async (name: string): Promise<Artifact> => {
      await cp(join(folder, "reference"), join(folder, name), { recursive: true });
      return artifactOf(join(folder, name), "features", reference.manifest.facts);
    };
    const [out, of] = [join(folder, "no-score"), await copied("broken")];
    const run = async (reference: Artifact, samples: Artifact) =>
      score.run(score.config.parse({}), { reference, samples }, await contextIn(out));
    const { mu, sigma } = await readStatistics(await of.path("images/statistics.npz"));
    const write = (value: number): Promise<void> =>
      writeNpz(join(folder, "broken", "images", "statistics.npz"), {
        mu: { shape: [64], data: mu.map((x, i) => (i === 9 ? value : x)) },
        sigma: { shape: [64, 64], data: sigma },
      });
    await write(NaN);
    await expect(run(reference, of)).rejects.toThrow(
      /^Cannot read statistics from ".*statistics.npz": mu is not finite: 1 of 64 elements, the first is NaN at index 9$/,
    );
    await write(1e200);
    await expect(run(reference, of)).rejects.toThrow(
      'Cannot score group "images": Cannot compare statistics: their distance is Infinity, expected a finite number',
    );
    await write(mu[9]!);
    await run(reference, of);
    await rm(join(out, "scores.json"));
    const values = (await readNpy(await of.path("images/features.npy"))).data as Float32Array;
    await writeNpy(join(folder, "broken", "images", "features.npy"), {
      shape: [IMAGES, 64],
      data: values.map((x, i) => (i === 64 * 100 + 5 ? Infinity : x)),
    });
    await expect(run(of, reference)).rejects.toThrow(
      /^Cannot read features ".*features.npy": rows 0 to 239 are not finite: 1 of 15360 elements, the first is Infinity at/,
    );
    expect((await readdir(out)).sort()).toEqual(["logs", "tmp"]);
  });

  test("refuses features that cannot be compared, and what holds none", async () => {
    const { facts } = reference.manifest;
    const run = async (reference: Artifact, samples: Artifact) =>
      score.run(score.config.parse({}), { reference, samples }, await contextIn(join(folder, "refused")));
    const changed = (facts: object): Artifact => ({
      ...reference,
      manifest: { ...reference.manifest, facts: { ...reference.manifest.facts, ...facts } },
    });
    const other = changed({ networkDigest: "0".repeat(64) });
    const short = (facts["networkDigest"] as string).slice(0, 12);
    await expect(run(reference, other)).rejects.toThrow(
      `features are of faces-net ${short} (64 channels, resize none: 32 x 32), those of the samples of faces-net 000000000000 (64`,
    );
    await expect(run(reference, changed({ resize: "cubic" }))).rejects.toThrow("resize cubic");
    await expect(run(shards, reference)).rejects.toThrow('the input "reference" is of stage "folder" and holds no');
    const [group] = facts["groups"] as [object];
    await expect(run(changed({ groups: [group, { ...group, name: "b" }] }), reference)).rejects.toThrow(
      "the reference holds 2 groups (images, b), expected one",
    );
    const wrong = changed({ groups: [{ name: "images", images: IMAGES - 1 }] });
    await expect(run(reference, wrong)).rejects.toThrow("are no .npy file of (239, 64) float32");
  });
});

/** Features, resizes, statistics and distances of the reference's FID, as this project computes them. */
import { compile, spec } from "@madformer/engine";
import { join } from "node:path";
import {
  FeatureStatistics,
  frechetDistance,
  INCEPTION_DIMS,
  INCEPTION_SIDE,
  InceptionExtractor,
  readInceptionWeights,
  readStatistics,
  resizeBilinear,
  resizePil,
  type Gaussian,
  type InceptionWeights,
  type TensorSource,
} from "@madformer/fid";
import { expectClose, FOLDER, goldenTensors, META, toleranceOf, type GoldenTensor } from "./golden.js";

/** What `meta.json` says about the network and the distances. */
const { inception: FACTS, frechet: FRECHET } = META as {
  readonly inception: {
    readonly base_seed: number;
    readonly keys: readonly (readonly [key: string, shape: number[]])[];
    readonly weights_digest: Readonly<Record<string, Digest>>;
    readonly float64_max_abs_diff: Readonly<Record<string, number>>;
  };
  readonly frechet: { readonly distance: Readonly<Record<string, number>> };
};

const ENGINES = ["onnx", "cpu"] as const;

/** Held here: Jest looks up globals anew at every use, 24 million times and more. */
const { imul } = Math;

/** Weights by the portable rule of the set's README. */
class PortableWeights implements TensorSource {
  private readonly shapes = new Map<string, number[]>(FACTS.keys);
  private readonly baseSeed = FACTS.base_seed;

  has(name: string): boolean {
    return this.shapes.has(name);
  }

  read(name: string): Promise<{ shape: number[]; data: Float32Array }> {
    return Promise.resolve(this.make(name));
  }

  make(name: string): { shape: number[]; data: Float32Array } {
    const shape = this.shapes.get(name);
    if (!shape) throw new RangeError(`no weights "${name}"`);
    const n = shape.reduce((product, size) => product * size, 1);
    const [lo, hi] = this.range(name, n / (shape[0] ?? 1));
    let h = 0x811c9dc5;
    for (const byte of Buffer.from(name)) h = imul(h ^ byte, 0x01000193);
    h = (h ^ this.baseSeed) >>> 0;
    const data = new Float32Array(n);
    for (let i = 0; i < n; i++) {
      let x = (h + imul(i, 0x9e3779b9)) >>> 0;
      x = imul(x ^ (x >>> 16), 0x85ebca6b);
      x = imul(x ^ (x >>> 13), 0xc2b2ae35);
      x = (x ^ (x >>> 16)) >>> 0;
      data[i] = lo + (hi - lo) * ((x >>> 8) / 2 ** 24);
    }
    return { shape, data };
  }

  private range(name: string, fanIn: number): [number, number] {
    if (name.endsWith(".conv.weight") || name === "fc.weight") return [-Math.sqrt(6 / fanIn), Math.sqrt(6 / fanIn)];
    if (name.endsWith(".bn.weight") || name.endsWith(".running_var")) return [0.5, 1.5];
    if (name.endsWith(".bn.bias")) return [-0.5, 0.5];
    if (name.endsWith(".running_mean")) return [-0.2, 0.2];
    if (name === "fc.bias") return [-0.1, 0.1];
    return [0, 0]; // num_batches_tracked
  }
}

const portable = new PortableWeights();
const inception = goldenTensors("inception.safetensors");
const images = inception["images_uint8_nhwc"] as GoldenTensor;
const [N = 0, height = 0, width = 0] = images.shape;
const pixels = Uint8Array.from(images.data);

describe("Inception features", () => {
  let weights: InceptionWeights;
  beforeAll(async () => void (weights = await readInceptionWeights(portable, 2048)));

  test.each(Object.entries(FACTS.weights_digest))(
    "the generator makes the weights that the digest of %s describes",
    (name, digest) => {
      const { shape, data } = portable.make(name);
      expect(shape).toEqual(digest.shape);
      expect([...data.subarray(0, digest.first.length)]).toEqual(digest.first);
      expect(data.at(-1)).toBe(digest.last);
      expect(data.reduce((sum, x) => sum + x, 0)).toBeCloseTo(digest.sum, 6);
      expect(data.reduce((sum, x) => sum + Math.abs(x), 0)).toBeCloseTo(digest.abs_sum, 6);
    },
  );

  test.each(INCEPTION_DIMS)("of %d channels are the reference's", async (dims) => {
    await using extractor = await InceptionExtractor.create(weights, {
      dims,
      imageSize: { height, width },
      batchImages: Math.max(1, N - 1), // the last batch is short
      engine: "onnx",
    });
    const features = await extractor.features(pixels);
    const noise = FACTS.float64_max_abs_diff[dims]!;
    expectClose(features, inception[`features.${dims}`]!.data, toleranceOf(noise), `features.${dims}`);
  });

  test("on the cpu engine are the reference's", async () => {
    const [dims] = INCEPTION_DIMS;
    await using extractor = await InceptionExtractor.create(weights, {
      dims,
      imageSize: { height, width },
      batchImages: 1,
      engine: "cpu",
    });
    const features = await extractor.features(pixels.subarray(0, height * width * 3));
    const noise = FACTS.float64_max_abs_diff[dims]!;
    expectClose(features, inception[`features.${dims}`]!.data.slice(0, dims), toleranceOf(noise));
  });

  test.each(ENGINES)("see images resized as the reference does, on the %s engine", async (engine) => {
    const size = { height: INCEPTION_SIDE, width: INCEPTION_SIDE };
    await using program = await compile(
      (_, { images }) => ({ outputs: { resized: resizeBilinear(images, size) } }),
      {
        inputs: { images: spec([1, height, width, 3]) },
      },
      { engine },
    );
    const first = Float32Array.from(pixels.subarray(0, height * width * 3), (byte) => byte / 255);
    const { resized } = await program.run({ images: first });
    const expected = inception["resized299.rows0_8"] as GoldenTensor; // (1, 3, rows, side)
    const [, C = 0, rows = 0, side = 0] = expected.shape;
    const actual = new Float32Array(C * rows * side);
    for (let c = 0; c < C; c++)
      for (let at = 0; at < rows * side; at++) actual[c * rows * side + at] = resized[at * C + c]!;
    // Both blend two pixels of at most 1 with weights of single precision: a few roundings of 6e-8. The reference has
    // positions in single precision too: off by two units in the last place of a side, times a slope of at most 1.
    expectClose(actual, expected.data, 1e-6 + Math.max(height, width) * 2 ** -23, "resized299");
  });
});

describe("Fréchet distances", () => {
  const frechet = goldenTensors("frechet.safetensors");
  const doubles = (name: string): Float64Array => frechet[name]!.data as Float64Array;
  const gaussian = (name: string): Gaussian => ({ mu: doubles(`mu.${name}`), sigma: doubles(`sigma.${name}`) });
  /** Fewer rows than columns, or no variance. */
  const isSingular = (name: string): boolean => {
    const [rows = 0, columns = 0] = frechet[`features.${name}`]!.shape;
    return rows <= columns || doubles(`sigma.${name}`).every((value) => value === 0);
  };
  const sets = Object.keys(frechet).flatMap((name) => (name.startsWith("mu.") ? [name.slice(3)] : []));

  test.each(Object.entries(FRECHET.distance))("between %s are the reference's", (pair, expected) => {
    const [x = "", y = ""] = pair.split(",");
    // What is added up: the traces and the squares of the means.
    const size = [x, y].reduce((sum, name) => {
      const { mu, sigma } = gaussian(name);
      return sum + mu.reduce((sum, value, i) => sum + value ** 2 + sigma[i * mu.length + i]!, 0);
    }, 0);
    // The root of a singular product is good to about 1e-6 in the reference (spec 15), that of a regular one to
    // rounding.
    const tolerance = ([x, y].some(isSingular) ? 1e-6 : 1e-11) * size;
    expect(Math.abs(frechetDistance(gaussian(x), gaussian(y)) - expected)).toBeLessThan(tolerance);
    expect(Math.abs(frechetDistance(gaussian(y), gaussian(x)) - expected)).toBeLessThan(tolerance);
  });

  test.each(sets)("start from the reference's mean and covariance of %s", (name) => {
    const features = frechet[`features.${name}`]!;
    const statistics = new FeatureStatistics(features.shape[1]!);
    statistics.add(features.data as Float64Array);
    const { mu, sigma } = statistics.gaussian();
    const largest = Math.max(...doubles(`features.${name}`).map(Math.abs));
    expectClose(mu, doubles(`mu.${name}`), 1e-14 * largest, `mu.${name}`); // double precision, a hundred roundings
    expectClose(sigma, doubles(`sigma.${name}`), 1e-14 * largest ** 2, `sigma.${name}`);
  });

  test.each(["a", "b"])("can start from numpy's file of %s", async (name) => {
    const { mu, sigma } = await readStatistics(join(FOLDER, `stats_${name}.npz`));
    expect([...mu]).toEqual([...doubles(`mu.${name}`)]);
    expect([...sigma]).toEqual([...doubles(`sigma.${name}`)]);
  });
});

describe("PIL's resize", () => {
  const files = goldenTensors("image.safetensors");
  const source = files["source_uint8_hwc"] as GoldenTensor;
  const [height = 0, width = 0, channels = 0] = source.shape;
  const image = { data: Uint8Array.from(source.data), width, height, channels };
  const resizes = Object.keys(files).filter((name) => name.startsWith("resize_"));

  test.each(resizes)("makes the same bytes: %s", (name) => {
    const expected = files[name] as GoldenTensor;
    const [height = 0, width = 0] = expected.shape;
    const { data, ...size } = resizePil(image, { width, height });
    expect(size).toEqual({ width, height, channels });
    expect([...data]).toEqual([...expected.data]);
  });

  test("is what the model's images start from", () => {
    const expected = files["normalized_chw"] as GoldenTensor;
    const [C = 0, height = 0, width = 0] = expected.shape;
    const { data } = resizePil(image, { width, height });
    const normalized = Float32Array.from({ length: data.length }, (_, i) => {
      const [channel, pixel] = [Math.floor(i / (height * width)), i % (height * width)];
      return (data[pixel * C + channel]! / 255 - 0.5) / 0.5;
    });
    expectClose(normalized, expected.data, 1e-6, "normalized_chw"); // a few roundings of numbers up to 1
  });
});

interface Digest {
  readonly shape: number[];
  readonly first: number[];
  readonly last: number;
  readonly sum: number;
  readonly abs_sum: number;
}

import { canonicalJson, notFinite, sha256 } from "@madformer/artifacts";
import type { Classifier } from "../features/classifier.js";
import { inceptionUnits, type InceptionDims, type Unit } from "./units.js";

/** Named float32 tensors: a file of weights, or anything that can be read like one. */
export interface TensorSource {
  /** Whether there is a tensor of this name. */
  has(name: string): boolean;
  /** Reads one tensor, row-major. */
  read(name: string): Promise<{ readonly shape: readonly number[]; readonly data: Float32Array }>;
}

/** A unit's convolution with the batch normalization folded into it. */
export interface UnitWeights {
  /** (height, width, channelsIn, channelsOut), row-major */
  readonly kernel: Float32Array;
  /** (channelsOut) */
  readonly bias: Float32Array;
}

/** What an extractor is made of. */
export interface InceptionWeights {
  /** The features that these units reach. */
  readonly dims: InceptionDims;
  /** SHA-256 of the tensors that they were read from: the same for files of other formats with the same values. */
  readonly digest: string;
  /** By the reference's names: `Mixed_5b.branch1x1`. */
  readonly units: ReadonlyMap<string, UnitWeights>;
  /** The last layer without its bias, if it is there and 2048 channels are read: what an inception score is made of. */
  readonly classifier?: Classifier;
}

/** What the reference's batch normalization adds to the variance. */
const EPSILON = 1e-3;

/**
 * Reads the network's weights by the reference's names (`X.conv.weight` (O, I, height, width), `X.bn.weight`,
 * `X.bn.bias`, `X.bn.running_mean`, `X.bn.running_var`), folds each batch normalization into its convolution,
 *
 *     scale = weight / sqrt(running_var + 0.001)
 *     kernel = convolution · scale          bias = bias - running_mean · scale
 *
 * in double precision, rounded once, and lays kernels out as (height, width, I, O). Of the classifier only
 * `fc.weight` is looked at, if it is there; `num_batches_tracked` is not.
 *
 * Source: pytorch-fid, `inception.py`; the units are its `BasicConv2d` (spec 15).
 *
 * @param dims Only the units that these features need are read.
 * @throws {RangeError} If tensors are missing, or one has another shape than the network's or is not finite.
 */
export async function readInceptionWeights(source: TensorSource, dims: InceptionDims): Promise<InceptionWeights> {
  const sizes = inceptionUnits(dims);
  const missing = [...sizes.keys()].flatMap((name) => keysOf(name).filter((key) => !source.has(key)));
  if (missing.length > 0)
    throw new RangeError(
      `Cannot read Inception weights: ${missing.length} tensors are missing, among them "${missing.slice(0, 3).join('", "')}"`,
    );
  const digests: Record<string, string> = {};
  const digested: TensorSource = {
    has: (name) => source.has(name),
    read: async (name) => {
      const tensor = await source.read(name);
      const { buffer, byteOffset, byteLength } = tensor.data;
      digests[name] = sha256(new Uint8Array(buffer, byteOffset, byteLength));
      return tensor;
    },
  };
  const units = new Map<string, UnitWeights>();
  for (const [name, unit] of sizes) units.set(name, await readUnit(digested, name, unit));
  const classifier = dims === 2048 && source.has(CLASSIFIER) ? await readClassifier(source) : undefined;
  return { dims, digest: sha256(canonicalJson(digests)), units, ...(classifier ? { classifier } : {}) };
}

const CLASSIFIER = "fc.weight";

/** torch-fidelity and ADM's suite leave the bias out, and so is it here. */
async function readClassifier(source: TensorSource): Promise<Classifier> {
  const { shape, data } = await source.read(CLASSIFIER);
  const [classes = 0, dims = 0] = shape;
  if (shape.length !== 2 || dims !== 2048 || classes < 2 || classes > 100_000)
    throw new RangeError(
      `Cannot read Inception weights: "${CLASSIFIER}" has shape (${shape.join(", ")}), expected (classes, 2048)`,
    );
  return { attributes: [{ name: "class", classes }], weight: finite(`"${CLASSIFIER}"`, data) };
}

const keysOf = (name: string): string[] =>
  ["conv.weight", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var"].map((key) => `${name}.${key}`);

async function readUnit(source: TensorSource, name: string, unit: Unit): Promise<UnitWeights> {
  const { channelsIn: I, channelsOut: O } = unit;
  const [height, width] = unit.kernel;
  const tensor = async (key: string, shape: readonly number[]): Promise<Float32Array> => {
    const { shape: found, data } = await source.read(`${name}.${key}`);
    const fits = found.length === shape.length && found.every((size, axis) => size === shape[axis]);
    if (!fits)
      throw new RangeError(
        `Cannot read Inception weights: "${name}.${key}" has shape (${found.join(", ")}), expected (${shape.join(", ")})`,
      );
    return finite(`"${name}.${key}"`, data);
  };
  const filter = await tensor("conv.weight", [O, I, height, width]);
  const [weight, shift, mean, variance] = [
    await tensor("bn.weight", [O]),
    await tensor("bn.bias", [O]),
    await tensor("bn.running_mean", [O]),
    await tensor("bn.running_var", [O]),
  ];
  const scale = Float64Array.from({ length: O }, (_, o) => weight[o]! / Math.sqrt(variance[o]! + EPSILON));
  const bias = Float32Array.from({ length: O }, (_, o) => shift[o]! - mean[o]! * scale[o]!);
  const kernel = new Float32Array(O * I * height * width);
  const pixels = height * width;
  let at = 0;
  for (let pixel = 0; pixel < pixels; pixel++)
    for (let i = 0; i < I; i++)
      for (let o = 0; o < O; o++) kernel[at++] = filter[(o * I + i) * pixels + pixel]! * scale[o]!;
  const folded = `"${name}" with its batch normalization`; // a variance below zero has no root
  return { kernel: finite(`the kernel of ${folded}`, kernel), bias: finite(`the bias of ${folded}`, bias) };
}

function finite(what: string, data: Float32Array): Float32Array {
  const bad = notFinite(data);
  if (bad === undefined) return data;
  throw new RangeError(`Cannot read Inception weights: ${what} is not finite: ${bad}`);
}

import type { Use } from "@madformer/engine";
import type * as tf from "@tensorflow/tfjs-core";
import { ShapeError } from "./shape.js";

/**
 * Parameters of a network: tensors by the keys of the reference's `state_dict`. In programs they are laid out as tfjs
 * wants them, which differs from PyTorch for one kind of tensor: convolution kernels are HWIO here and OIHW there.
 */
export type Parameters = Readonly<Record<string, tf.Tensor>>;

/** How a parameter is drawn at first. Spec section 3. */
export type Initializer =
  /** Uniform in ±sqrt(6 / (fanIn + fanOut)): `nn.Linear`. */
  | { readonly kind: "xavier"; readonly fanIn: number; readonly fanOut: number }
  /** Uniform in ±1 / sqrt(fanIn): `nn.Conv2d`, weight and bias. */
  | { readonly kind: "fan-in"; readonly fanIn: number }
  | { readonly kind: "constant"; readonly value: number }
  | { readonly kind: "normal" }
  /** Normal, but for a row of zeros: `nn.Embedding` with a padding index. */
  | { readonly kind: "embedding"; readonly zeroRow: number | null };

/** One parameter: its shape in programs, and how it is drawn. */
export interface ParameterSpec {
  readonly shape: readonly number[];
  readonly initializer: Initializer;
}

/** All parameters of a network by key, in the order of the reference's `state_dict`. */
export type ParameterSpecs = Readonly<Record<string, ParameterSpec>>;

/**
 * The parameters below a prefix, for a layer that does not care where it stands.
 *
 * @throws {RangeError} When one is asked for that is not there.
 */
export class Scope {
  constructor(
    private readonly parameters: Parameters,
    private readonly prefix = "",
    private readonly use: Use = (parameter) => parameter,
  ) {}

  /** The scope of a part: `scope.in("resnets.0")`. */
  in(name: string): Scope {
    return new Scope(this.parameters, `${this.prefix}${name}.`, this.use);
  }

  /** The same scope, whose parameters are told to `use` when they are asked for, and are what that gives. */
  through(use: Use): Scope {
    return new Scope(this.parameters, this.prefix, use);
  }

  has(name: string): boolean {
    return this.prefix + name in this.parameters;
  }

  get<T extends tf.Tensor = tf.Tensor>(name: string): T {
    const tensor = this.parameters[this.prefix + name];
    if (!tensor) throw new RangeError(`The parameters have no "${this.prefix}${name}"`);
    return this.use(tensor as T);
  }
}

/** The same specs with keys under a prefix. */
export function under(prefix: string, specs: ParameterSpecs): ParameterSpecs {
  return Object.fromEntries(Object.entries(specs).map(([key, spec]) => [`${prefix}.${key}`, spec]));
}

/** Number of elements of all parameters together. */
export function parameterCount(specs: ParameterSpecs): number {
  return Object.values(specs).reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
}

/** Whether a parameter is a convolution kernel: the one kind that files and programs lay out differently. */
const isKernel = (shape: readonly number[]): boolean => shape.length === 4;

/** The shape of a parameter in files: OIHW for a kernel. */
export function fileShape({ shape }: ParameterSpec): readonly number[] {
  const [h = 0, w = 0, i = 0, o = 0] = shape;
  return isKernel(shape) ? [o, i, h, w] : shape;
}

/** A parameter's elements with the shape they have in a file. */
export interface FileTensor {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/**
 * Parameters as programs take them, from a state dict of the reference: kernels from OIHW to HWIO, all else as it is.
 *
 * @param tensors By key. 1x1 kernels given for linear layers, (O, I, 1, 1) for (O, I), are accepted: some exports have
 *   them.
 * @returns By key, in the order of the specs. Arrays that need no other layout are the given ones, not copies.
 * @throws {ShapeError} If a key is missing, is not known, or has another shape; the message lists the first few.
 */
export function fromStateDict(
  specs: ParameterSpecs,
  tensors: Readonly<Record<string, FileTensor>>,
): Record<string, Float32Array> {
  const problems = [
    ...Object.keys(tensors)
      .filter((key) => !(key in specs))
      .map((key) => `"${key}" is not a parameter of this network`),
    ...Object.entries(specs).flatMap(([key, spec]) => {
      const [found, expected] = [tensors[key], fileShape(spec)];
      if (!found) return [`"${key}" is missing, expected shape (${expected.join(", ")})`];
      const shape =
        expected.length === 2 && found.shape.slice(2).join() === "1,1" ? found.shape.slice(0, 2) : found.shape;
      if (shape.join() !== expected.join())
        return [`"${key}" has shape (${found.shape.join(", ")}), expected (${expected.join(", ")})`];
      const size = shape.reduce((a, b) => a * b, 1);
      return found.data.length === size
        ? []
        : [`"${key}" has ${found.data.length} elements, expected ${size} for shape (${shape.join(", ")})`];
    }),
  ];
  if (problems.length > 0) {
    const more = problems.length > 5 ? `; and ${problems.length - 5} more` : "";
    throw new ShapeError(`The weights do not fit the network: ${problems.slice(0, 5).join("; ")}${more}`);
  }
  return Object.fromEntries(
    Object.entries(specs).map(([key, { shape }]) => {
      const { data } = tensors[key] as FileTensor;
      return [key, isKernel(shape) ? permuted(data, fileShape({ shape } as ParameterSpec), [2, 3, 1, 0]) : data];
    }),
  );
}

/**
 * The state dict of parameters: the inverse of `fromStateDict`. Serves for gradients and moments as well.
 *
 * @param values By key, as programs hold them.
 */
export function toStateDict(
  specs: ParameterSpecs,
  values: Readonly<Record<string, Float32Array>>,
): Record<string, FileTensor> {
  return Object.fromEntries(
    Object.entries(specs).map(([key, spec]) => {
      const data = values[key];
      if (!data) throw new ShapeError(`The values have no "${key}"`);
      const file = isKernel(spec.shape) ? permuted(data, spec.shape, [3, 2, 0, 1]) : data;
      return [key, { shape: fileShape(spec), data: file }];
    }),
  );
}

/**
 * The elements of a tensor of four axes with its axes permuted: axis i of the result is axis order[i] of the tensor.
 */
function permuted(data: Float32Array, shape: readonly number[], order: readonly number[]): Float32Array {
  const strides = [0, 1, 2, 3].map((axis) => shape.slice(axis + 1).reduce((a, b) => a * b, 1));
  const [n0 = 0, n1 = 0, n2 = 0, n3 = 0] = order.map((axis) => shape[axis] ?? 0);
  const [s0 = 0, s1 = 0, s2 = 0, s3 = 0] = order.map((axis) => strides[axis] ?? 0);
  const result = new Float32Array(data.length);
  let at = 0;
  for (let a = 0; a < n0; a++)
    for (let b = 0; b < n1; b++)
      for (let c = 0; c < n2; c++)
        for (let d = 0; d < n3; d++) result[at++] = data[a * s0 + b * s1 + c * s2 + d * s3] ?? 0;
  return result;
}

import type * as tf from "@tensorflow/tfjs-core";
import type { Handle } from "./handle.js";
import { allocate, sizeOf, type DType, type Shape, type TensorData } from "./ir/graph.js";
import { formatType } from "./ir/infer.js";

/** Shape and dtype of one tensor of a program. */
export interface TensorSpec<S extends Shape = Shape> {
  readonly shape: S;
  /** float32 unless said. */
  readonly dtype?: DType;
}

/**
 * Named values, nested at will; names hold no "/". Leaves are told from branches by what they are, not by their depth.
 */
export type Tree<Leaf> = { readonly [name: string]: Leaf | Tree<Leaf> };

/** What a compiled function takes: its state, held by the engine, and the inputs of every run. */
export interface Signature<
  State extends Tree<TensorSpec> = Tree<TensorSpec>,
  Inputs extends Tree<TensorSpec> = Tree<TensorSpec>,
> {
  readonly state?: State;
  readonly inputs?: Inputs;
}

interface TensorOfRank {
  readonly [rank: number]: tf.Tensor;
  readonly 0: tf.Scalar;
  readonly 1: tf.Tensor1D;
  readonly 2: tf.Tensor2D;
  readonly 3: tf.Tensor3D;
  readonly 4: tf.Tensor4D;
  readonly 5: tf.Tensor5D;
  readonly 6: tf.Tensor<tf.Rank.R6>;
}

/** The tfjs tensors of a tree of specs: what the function that is compiled sees. */
export type Tensors<Specs> =
  Specs extends TensorSpec<infer S>
    ? TensorOfRank[S["length"]]
    : { readonly [Name in keyof Specs]: Tensors<Specs[Name]> };

/** The values of a tree of specs or tensors, outside of the function: typed arrays, row-major. */
export type Values<Specs> = Specs extends TensorSpec | tf.Tensor
  ? TensorData
  : { readonly [Name in keyof Specs]: Values<Specs[Name]> };

/** Values for a tree of specs or tensors: typed arrays, plain numbers where a tensor is small, or handles. */
export type InputValues<Specs, Leaf = TensorValue | Handle> = Specs extends TensorSpec | tf.Tensor
  ? Leaf
  : { readonly [Name in keyof Specs]: InputValues<Specs[Name], Leaf> };

/** A handle for each tensor of a tree of specs or tensors. */
export type Handles<Specs> = Specs extends TensorSpec | tf.Tensor
  ? Handle
  : { readonly [Name in keyof Specs]: Handles<Specs[Name]> };

/** Some of a tree's leaves. */
export type Part<T> = T extends TensorValue | Handle ? T : { readonly [Name in keyof T]?: Part<T[Name]> };

/**
 * A tensor of a signature.
 *
 * @example
 * const signature = { inputs: { x: spec([32, 16]), labels: spec([32], "int32") } };
 */
export function spec<const S extends Shape>(shape: S, dtype: DType = "float32"): TensorSpec<S> {
  return { shape, dtype };
}

/** Separates the names on the way to a leaf: `params/blocks.0.weight`. */
export const PATH_SEPARATOR = "/";

/** Whether a value of a tree of specs is a leaf. */
export function isSpec(value: unknown): value is TensorSpec {
  return typeof value === "object" && value !== null && Array.isArray((value as { shape?: unknown }).shape);
}

/**
 * Leaves of a tree by their path, in the order in which they stand.
 *
 * @throws {RangeError} If a name is empty or holds "/".
 * @throws {TypeError} If a leaf is neither a leaf nor a branch.
 */
export function flatten<Leaf>(
  tree: Tree<Leaf>,
  isLeaf: (value: unknown) => value is Leaf,
  what: string,
): Map<string, Leaf> {
  const leaves = new Map<string, Leaf>();
  const walk = (branch: Tree<Leaf>, prefix: string): void => {
    for (const [name, value] of Object.entries(branch)) {
      if (name === "" || name.includes(PATH_SEPARATOR))
        throw new RangeError(`${what}: name ${JSON.stringify(prefix + name)} is empty or holds "${PATH_SEPARATOR}"`);
      if (isLeaf(value)) leaves.set(prefix + name, value);
      else if (isBranch(value)) walk(value, prefix + name + PATH_SEPARATOR);
      else
        throw new TypeError(
          `${what}: "${prefix + name}" is ${describe(value)}, expected a tensor or a tree of tensors`,
        );
    }
  };
  walk(tree, "");
  return leaves;
}

/** A tree from its leaves by path: the inverse of `flatten`. */
export function unflatten<Leaf>(leaves: Iterable<readonly [path: string, leaf: Leaf]>): Tree<Leaf> {
  const root: Record<string, unknown> = {};
  for (const [path, leaf] of leaves) {
    const names = path.split(PATH_SEPARATOR);
    const last = names.pop() as string;
    let branch = root;
    for (const name of names)
      branch = (Object.hasOwn(branch, name) ? branch[name] : (branch[name] = {})) as typeof root;
    Object.defineProperty(branch, last, { value: leaf, enumerable: true, writable: true, configurable: true });
  }
  return root as Tree<Leaf>;
}

function isBranch(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value);
}

/** One named tensor of a program, its defaults filled in. */
export interface TensorField {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: Shape;
}

/**
 * Fields of a tree of specs.
 *
 * @throws {RangeError} If a shape holds anything but non-negative whole numbers.
 */
export function fieldsOf(specs: Tree<TensorSpec>, what: string): TensorField[] {
  return [...flatten(specs, isSpec, what)].map(([name, { shape, dtype = "float32" }]) => {
    if (!shape.every((size) => Number.isSafeInteger(size) && size >= 0))
      throw new RangeError(
        `${what}: "${name}" has shape (${shape.join(", ")}), expected whole numbers; shapes are static`,
      );
    return { name, dtype, shape: [...shape] };
  });
}

/** What goes into a program: typed arrays, or plain numbers for a tensor of one element. */
export type TensorValue = TensorData | number | readonly number[];

/** Whether a value given for a tensor is a leaf. */
export function isValue(value: unknown): value is TensorValue {
  return typeof value === "number" || typeof value === "boolean" || ArrayBuffer.isView(value) || Array.isArray(value);
}

/**
 * The elements of a value given for a field: the value itself if it is the right typed array, else new ones.
 *
 * @throws {TypeError} If its dtype is another one, or it is no tensor at all.
 * @throws {RangeError} If it has another number of elements.
 */
export function elementsOf(value: unknown, field: TensorField, program: string): TensorData {
  const size = sizeOf(field.shape);
  const expected = `expected ${formatType(field)}, ${size} ${size === 1 ? "element" : "elements"}`;
  const where = `Program "${program}": "${field.name}"`;
  const empty = allocate(field.dtype, 0);
  if (typeof value === "number" || typeof value === "boolean") {
    if (size !== 1) throw new RangeError(`${where} is one number, ${expected}`);
    return elementsOf([value], field, program);
  }
  const plain = Array.isArray(value) && value.every((x) => typeof x === "number" || typeof x === "boolean");
  const typed = ArrayBuffer.isView(value) && Object.getPrototypeOf(value) === Object.getPrototypeOf(empty);
  if (!plain && !typed) throw new TypeError(`${where} is ${describe(value)}, ${expected} as ${empty.constructor.name}`);
  const data = value as TensorData | number[];
  if (data.length !== size) throw new RangeError(`${where} has ${data.length} elements, ${expected}`);
  if (!Array.isArray(data)) return data;
  const elements = allocate(field.dtype, size);
  elements.set(data);
  return elements;
}

/** New elements for a field, zero. */
export function allocateField(field: TensorField): TensorData {
  return allocate(field.dtype, sizeOf(field.shape));
}

function describe(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value !== "object") return `a ${typeof value}`;
  const { constructor } = value as { constructor?: { name?: string } };
  const length =
    ArrayBuffer.isView(value) || Array.isArray(value)
      ? ` of ${(value as unknown as ArrayLike<unknown>).length} elements`
      : "";
  return `a ${constructor?.name ?? "object"}${length}`;
}

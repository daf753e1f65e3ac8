import { sameNumbers, sizeOf, type DType, type Shape, type TensorData } from "../ir/graph.js";
import { denseText, isSplat, quoted, scalarText, type ElementType } from "./literal.js";

/** A value of the program: its name in the text, and its type. */
export interface Value {
  readonly name: string;
  readonly shape: Shape;
  readonly type: ElementType;
}

/** How the operands of a product are rounded before they are multiplied. */
export type ProductPrecision = "float32" | "tf32" | "bf16";

/** Element types by the dtypes of the IR. */
export const ELEMENT_TYPE = { float32: "f32", int32: "i32", bool: "i1" } as const satisfies Record<DType, ElementType>;

/** Functions that two values are reduced with, and what they leave a value as it is with. */
const REDUCERS = {
  add: { f32: 0, i32: 0 },
  multiply: { f32: 1, i32: 1 },
  maximum: { f32: -Infinity, i32: -(2 ** 31) },
  minimum: { f32: Infinity, i32: 2 ** 31 - 1 },
  or: { i1: 0 },
  and: { i1: 1 },
} as const satisfies Record<string, Partial<Record<ElementType, number>>>;
export type Reducer = keyof typeof REDUCERS;

export type Direction = "EQ" | "NE" | "LT" | "LE" | "GT" | "GE";

/** A convolution as StableHLO has it, over two spatial axes. */
export interface Convolution {
  /** What the axes of image, filter and result are, such as `[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]`. */
  readonly dimensions: string;
  readonly strides: readonly number[];
  /** Before and after each axis; negative ones cut off. */
  readonly padding: readonly (readonly [number, number])[];
  /** Of the image: how far its pixels are moved apart. */
  readonly imageDilation: readonly number[];
  readonly filterDilation: readonly number[];
  /** Whether the filter is turned by 180 degrees. */
  readonly turned: boolean;
  readonly featureGroups: number;
  readonly batchGroups: number;
}

/** Text of a tensor type: `tensor<2x3xf32>`. */
export function typeText({ shape, type }: Omit<Value, "name">): string {
  return `tensor<${shape.map((size) => `${size}x`).join("")}${type}>`;
}

const i64s = (numbers: readonly number[]): string =>
  numbers.length === 0 ? "array<i64>" : `array<i64: ${numbers.join(", ")}>`;

/**
 * Collects the operations of a StableHLO function, as text.
 *
 * They are written in MLIR's generic form, `"stablehlo.add"(%0, %1) : (type, type) -> type`: it follows from the
 * operations' definitions, and has changed less from version to version than the shorter forms that people read.
 */
export class HloBuilder {
  readonly lines: string[] = [];
  /** Where the operations that follow come from; it goes into profiles and errors. */
  scope = "";
  /** How products are rounded from here on. */
  precision: ProductPrecision = "float32";
  private count = 0;
  private readonly locations = new Map<string, string>();
  /** Constants and roundings that are there already, by their text. */
  private readonly shared = new Map<string, Value>();

  /** Lines that name the locations, for the head of the module. */
  locationLines(): string[] {
    return [...this.locations].map(([scope, alias]) => `${alias} = loc(${quoted(scope)})`);
  }

  /** The location of what comes from a scope, as an operation or an argument carries it. */
  location(scope: string): string {
    if (scope === "") return "";
    let alias = this.locations.get(scope);
    if (alias === undefined) {
      alias = `#loc${this.locations.size + 1}`;
      this.locations.set(scope, alias);
    }
    return ` loc(${alias})`;
  }

  /** Adds an operation with one result. */
  op(name: string, operands: readonly Value[], shape: Shape, type: ElementType, attributes = "", region = ""): Value {
    const result = { name: `%${this.count++}`, shape, type };
    const names = operands.map((operand) => operand.name).join(", ");
    const types = operands.map(typeText).join(", ");
    const settings = attributes && ` {${attributes}}`;
    const full = name.includes(".") ? name : `stablehlo.${name}`;
    this.lines.push(
      `    ${result.name} = "${full}"(${names})${region && ` (${region})`}${settings} : (${types}) -> ${typeText(result)}` +
        this.location(this.scope),
    );
    return result;
  }

  /** The first of some values, when all are there; the compiler does not look through it. */
  barrier(values: readonly Value[]): Value {
    const [first] = values as readonly [Value];
    const name = `%${this.count++}`;
    const types = `(${values.map(typeText).join(", ")})`;
    this.lines.push(
      `    ${name}:${values.length} = "stablehlo.optimization_barrier"(${values.map(({ name }) => name).join(", ")}) : ` +
        `${types} -> ${types}${this.location(this.scope)}`,
    );
    return { ...first, name: `${name}#0` };
  }

  /** An elementwise operation; operands and result are of one type. */
  map(name: string, ...operands: [Value, ...Value[]]): Value {
    return this.op(name, operands, operands[0].shape, operands[0].type);
  }

  /** The same with one number as its second operand. */
  mapScalar(name: string, x: Value, value: number): Value {
    return this.map(name, x, this.filled(value, x.shape, x.type));
  }

  compare(direction: Direction, a: Value, b: Value): Value {
    const attributes = `comparison_direction = #stablehlo<comparison_direction ${direction}>`;
    return this.op("compare", [a, b], a.shape, "i1", attributes);
  }

  compareScalar(direction: Direction, x: Value, value: number): Value {
    return this.compare(direction, x, this.filled(value, x.shape, x.type));
  }

  /** `a` where the condition holds, else `b`. */
  select(condition: Value, a: Value, b: Value): Value {
    return this.op("select", [condition, a, b], a.shape, a.type);
  }

  convert(x: Value, type: ElementType): Value {
    return x.type === type ? x : this.op("convert", [x], x.shape, type);
  }

  /** A tensor that is the same number everywhere. */
  filled(value: number, shape: Shape, type: ElementType): Value {
    return this.constant(scalarText(value, type), shape, type);
  }

  /** A tensor of known elements. */
  data(data: TensorData, shape: Shape, dtype: DType): Value {
    const type = ELEMENT_TYPE[dtype];
    if (data.length === 0) return this.constant("", shape, type);
    if (isSplat(data)) return this.filled(data[0] ?? 0, shape, type);
    if (dtype !== "bool") return this.dense(denseText(data), shape, type);
    // How the bytes of `i1` are packed has changed between versions; those of `i8` are plain.
    return this.compareScalar("NE", this.dense(denseText(data), shape, "i8"), 0);
  }

  /** Elements of a constant as in `dense<...>`: not shared, for keys of this size would cost more than they save. */
  private dense(text: string, shape: Shape, type: ElementType): Value {
    return this.op("constant", [], shape, type, `value = dense<${text}> : ${typeText({ shape, type })}`);
  }

  private constant(text: string, shape: Shape, type: ElementType): Value {
    return this.once(`${text} ${typeText({ shape, type })}`, () => this.dense(text, shape, type));
  }

  private once(key: string, make: () => Value): Value {
    let value = this.shared.get(key);
    if (value === undefined) {
      value = make();
      this.shared.set(key, value);
    }
    return value;
  }

  iota(shape: Shape, axis: number): Value {
    const make = (): Value => this.op("iota", [], shape, "i32", `iota_dimension = ${axis} : i64`);
    return this.once(`iota ${axis} ${shape.join("x")}`, make);
  }

  /** @param axes Where each axis of `x` goes. Default: to the last axes of `shape`, as NumPy broadcasts. */
  broadcast(x: Value, shape: Shape, axes = x.shape.map((_, i) => shape.length - x.shape.length + i)): Value {
    if (sameNumbers(x.shape, shape)) return x;
    return this.op("broadcast_in_dim", [x], shape, x.type, `broadcast_dimensions = ${i64s(axes)}`);
  }

  reshape(x: Value, shape: Shape): Value {
    return sameNumbers(x.shape, shape) ? x : this.op("reshape", [x], shape, x.type);
  }

  transpose(x: Value, permutation: readonly number[]): Value {
    if (permutation.every((axis, i) => axis === i)) return x;
    const shape = permutation.map((axis) => x.shape[axis] ?? 1);
    return this.op("transpose", [x], shape, x.type, `permutation = ${i64s(permutation)}`);
  }

  /** @param limits The first positions that are not taken any more. */
  slice(x: Value, starts: readonly number[], limits: readonly number[], strides = starts.map(() => 1)): Value {
    const shape = starts.map((start, i) => Math.ceil(((limits[i] ?? 0) - start) / (strides[i] ?? 1)));
    const attributes = `start_indices = ${i64s(starts)}, limit_indices = ${i64s(limits)}, strides = ${i64s(strides)}`;
    return this.op("slice", [x], shape, x.type, attributes);
  }

  reverse(x: Value, axes: readonly number[]): Value {
    return axes.length === 0 ? x : this.op("reverse", [x], x.shape, x.type, `dimensions = ${i64s(axes)}`);
  }

  concat(parts: readonly Value[], axis: number, shape: Shape): Value {
    const [first] = parts as readonly [Value];
    return this.op("concatenate", parts, shape, first.type, `dimension = ${axis} : i64`);
  }

  /**
   * @param low What is added before each axis; negative counts cut off. `high`: after it.
   * @param interior What is added between neighbors.
   */
  pad(
    x: Value,
    value: number,
    low: readonly number[],
    high: readonly number[],
    interior: readonly number[] = low.map(() => 0),
  ): Value {
    if ([...low, ...high, ...interior].every((count) => count === 0)) return x;
    const shape = x.shape.map((size, i) => {
      return size + Math.max(0, size - 1) * (interior[i] ?? 0) + (low[i] ?? 0) + (high[i] ?? 0);
    });
    const attributes = `edge_padding_low = ${i64s(low)}, edge_padding_high = ${i64s(high)}, interior_padding = ${i64s(interior)}`;
    return this.op("pad", [x, this.filled(value, [], x.type)], shape, x.type, attributes);
  }

  /** A reduction; its axes are gone afterwards. */
  reduce(reducer: Reducer, x: Value, axes: readonly number[]): Value {
    if (axes.length === 0) return x;
    const shape = x.shape.filter((_, axis) => !axes.includes(axis));
    const operands = [x, this.initial(reducer, x.type)];
    return this.op("reduce", operands, shape, x.type, `dimensions = ${i64s(axes)}`, this.body(reducer, x.type));
  }

  /** The reduction of each window; what lies outside counts for nothing. */
  reduceWindow(
    reducer: Reducer,
    x: Value,
    { size, strides = size.map(() => 1), dilations = size.map(() => 1), padding }: WindowAttributes,
  ): Value {
    const shape = x.shape.map((length, i) => {
      const [low, high] = padding[i] ?? [0, 0];
      const reach = ((size[i] ?? 1) - 1) * (dilations[i] ?? 1) + 1;
      return Math.floor((length + low + high - reach) / (strides[i] ?? 1)) + 1;
    });
    const attributes =
      `window_dimensions = ${i64s(size)}, window_strides = ${i64s(strides)}, ` +
      `base_dilations = ${i64s(size.map(() => 1))}, window_dilations = ${i64s(dilations)}, ${paddingText(padding)}`;
    const operands = [x, this.initial(reducer, x.type)];
    return this.op("reduce_window", operands, shape, x.type, attributes, this.body(reducer, x.type));
  }

  /** The function of two elements that a reduction applies. */
  body(reducer: Reducer, type: ElementType): string {
    const t = typeText({ shape: [], type });
    return (
      `{ ^bb0(%a: ${t}, %b: ${t}): %c = "stablehlo.${reducer}"(%a, %b) : (${t}, ${t}) -> ${t} ` +
      `"stablehlo.return"(%c) : (${t}) -> () }`
    );
  }

  private initial(reducer: Reducer, type: ElementType): Value {
    const value = (REDUCERS[reducer] as Partial<Record<ElementType, number>>)[type];
    if (value === undefined) throw new TypeError(`"${reducer}" does not reduce ${type}`);
    return this.filled(value, [], type);
  }

  /**
   * Products summed over one axis of each operand, in float32. The result has the batch axes, which both share, then
   * the axes left of `a`, then those left of `b`.
   */
  dot(a: Value, b: Value, axisA: number, axisB: number, batch: number): Value {
    const free = (x: Value, axis: number): Shape => x.shape.filter((_, i) => i >= batch && i !== axis);
    const shape = [...a.shape.slice(0, batch), ...free(a, axisA), ...free(b, axisB)];
    const list = `[${Array.from({ length: batch }, (_, i) => i).join(", ")}]`;
    const batching = batch > 0 ? `lhs_batching_dimensions = ${list}, rhs_batching_dimensions = ${list}, ` : "";
    const contracting = `lhs_contracting_dimensions = [${axisA}], rhs_contracting_dimensions = [${axisB}]`;
    const numbers = `dot_dimension_numbers = #stablehlo.dot<${batching}${contracting}>`;
    return this.op("dot_general", [this.rounded(a), this.rounded(b)], shape, "f32", `${numbers}, ${this.exactness()}`);
  }

  convolution(x: Value, w: Value, shape: Shape, c: Convolution): Value {
    const attributes = [
      `window_strides = ${i64s(c.strides)}`,
      paddingText(c.padding),
      `lhs_dilation = ${i64s(c.imageDilation)}`,
      `rhs_dilation = ${i64s(c.filterDilation)}`,
      `window_reversal = array<i1: ${c.turned}, ${c.turned}>`,
      `dimension_numbers = #stablehlo.conv<${c.dimensions}>`,
      `feature_group_count = ${c.featureGroups} : i64`,
      `batch_group_count = ${c.batchGroups} : i64`,
      this.exactness(),
    ];
    return this.op("convolution", [this.rounded(x), this.rounded(w)], shape, "f32", attributes.join(", "));
  }

  /** An operand of a product, as exact as products are now: each value is rounded once, however often it is used. */
  private rounded(x: Value): Value {
    return this.precision === "bf16" ? this.once(`bf16 ${x.name}`, () => this.convert(x, "bf16")) : x;
  }

  /** What of float32 operands the device may drop: nothing, or what its fast units do not take. */
  private exactness(): string {
    const precision = `#stablehlo<precision ${this.precision === "float32" ? "HIGHEST" : "DEFAULT"}>`;
    return `precision_config = [${precision}, ${precision}]`;
  }

  /** Adds the rows of `updates` to the rows of `x` with these numbers; what lies outside is dropped. */
  scatterAdd(x: Value, rows: Value, updates: Value): Value {
    const update = updates.shape.slice(1).map((_, i) => i + 1);
    const numbers =
      `#stablehlo.scatter<update_window_dims = [${update.join(", ")}], inserted_window_dims = [0], ` +
      `scatter_dims_to_operand_dims = [0], index_vector_dim = 1>`;
    const attributes = `scatter_dimension_numbers = ${numbers}, indices_are_sorted = false, unique_indices = false`;
    return this.op("scatter", [x, rows, updates], x.shape, x.type, attributes, this.body("add", x.type));
  }

  /** Slices of `x`, one long along `axis`, at these positions: the axis is replaced by those of `indices`. */
  gather(x: Value, indices: Value, axis: number): Value {
    const rank = indices.shape.length;
    const shape = [...x.shape.slice(0, axis), ...indices.shape, ...x.shape.slice(axis + 1)];
    const offsets = shape.flatMap((_, i) => (i < axis || i >= axis + rank ? [i] : []));
    const numbers =
      `#stablehlo.gather<offset_dims = [${offsets.join(", ")}], collapsed_slice_dims = [${axis}], ` +
      `start_index_map = [${axis}], index_vector_dim = ${rank}>`;
    const sizes = i64s(x.shape.map((size, i) => (i === axis ? Math.min(size, 1) : size)));
    const attributes = `dimension_numbers = ${numbers}, slice_sizes = ${sizes}, indices_are_sorted = false`;
    // Nothing can be taken from nothing; then there are no indices either.
    if (sizeOf(shape) === 0) return this.filled(0, shape, x.type);
    return this.op("gather", [x, indices], shape, x.type, attributes);
  }
}

/** A window over all axes of a tensor. */
export interface WindowAttributes {
  readonly size: readonly number[];
  readonly strides?: readonly number[];
  readonly dilations?: readonly number[];
  readonly padding: readonly (readonly [number, number])[];
}

function paddingText(padding: readonly (readonly [number, number])[]): string {
  const rows = padding.map(([low, high]) => `[${low}, ${high}]`);
  return `padding = dense<[${rows.join(", ")}]> : tensor<${padding.length}x2xi64>`;
}

import { isOp, nodesOf, type Graph, type Node, type NodeOf, type OpKind } from "../ir/graph.js";
import type { TensorType } from "../ir/infer.js";
import { decomposeAttention, type Decomposed } from "../passes/decompose-attention.js";
import { ELEMENT_TYPE, HloBuilder, typeText, type ProductPrecision, type Value } from "./builder.js";
import { lowerBinary, lowerCast, lowerCompare, lowerSelect, lowerUnary } from "./lower-elementwise.js";
import { lowerPad, lowerSegmentSum, lowerSlice, lowerTile } from "./lower-moves.js";
import { lowerMatmul } from "./lower-products.js";
import { lowerArg, lowerCumsum, lowerGroupNorm, lowerReduce, lowerRmsNorm, lowerSoftmax } from "./lower-sums.js";
import {
  lowerConv2d,
  lowerConv2dFilterGrad,
  lowerConv2dInputGrad,
  lowerPatches,
  lowerPool,
  lowerPoolGrad,
  lowerResize,
} from "./lower-windows.js";
import { productPrecision } from "./precision.js";

/** The operands of an operation: `infer` has counted them, and some may be left out. */
type Operands = readonly [a: Value, b: Value, c: Value] & { readonly length: number };

/** How one operation becomes StableHLO. */
export type Lowering<K extends OpKind> = (hlo: HloBuilder, node: NodeOf<K>, operands: Operands) => Value;

const LOWERINGS: { readonly [K in Exclude<OpKind, "input" | Decomposed>]: Lowering<K> } = {
  constant: (hlo, { op }) => hlo.data(op.data, op.shape, op.dtype),
  unary: lowerUnary,
  binary: lowerBinary,
  compare: lowerCompare,
  select: lowerSelect,
  cast: lowerCast,

  reduce: lowerReduce,
  arg: lowerArg,
  cumsum: lowerCumsum,
  softmax: lowerSoftmax,
  rmsNorm: lowerRmsNorm,
  groupNorm: lowerGroupNorm,
  matmul: lowerMatmul,

  conv2d: lowerConv2d,
  conv2dInputGrad: lowerConv2dInputGrad,
  conv2dFilterGrad: lowerConv2dFilterGrad,
  patches: lowerPatches,
  pool: lowerPool,
  poolGrad: lowerPoolGrad,
  resize: (...args) => lowerResize(...args),
  resizeGrad: (...args) => lowerResize(...args),

  concat: (hlo, { op, shape }, parts) => hlo.concat(parts, op.axis, shape),
  slice: lowerSlice,
  pad: lowerPad,
  broadcast: (hlo, { op }, [x]) => hlo.broadcast(x, op.shape),
  tile: lowerTile,
  transpose: (hlo, { op }, [x]) => hlo.transpose(x, op.permutation),
  reshape: (hlo, { op }, [x]) => hlo.reshape(x, op.shape),
  gather: (hlo, { op }, [x, indices]) => hlo.gather(x, indices, op.axis),
  segmentSum: lowerSegmentSum,
  barrier: (hlo, _node, operands) => hlo.barrier(operands),
};

export interface LoweringOptions {
  /**
   * How the operands of products and convolutions are rounded before they are multiplied: `float32` not at all, `tf32`
   * as the device likes best (on NVIDIA's GPUs to TF32), `bf16` to bfloat16. Their sums, and all else, are float32.
   */
  readonly precision: ProductPrecision;
  /** The module's name. Default: the graph's. */
  readonly name?: string;
  /**
   * Constants of more bytes become parameters, behind the inputs, so that the text stays small and the compiler does
   * not look at them. Default: none do.
   */
  readonly inlineBytes?: number;
  /** Inputs whose memory results may take, by their indices: the input is lost. Their types must be the same. */
  readonly donated?: ReadonlyMap<number, number>;
}

export interface LoweredProgram {
  readonly text: string;
  /** What the parameters behind the inputs must be given, in their order. */
  readonly constants: readonly NodeOf<"constant">["op"][];
}

/**
 * Writes a graph as a StableHLO module with one function, `@main`: its parameters are the graph's inputs in their
 * order, its results the graph's outputs in theirs. Scopes of tfjs become the operations' locations.
 *
 * Source: openxla/stablehlo docs/spec.md.
 */
export function lowerToStableHlo(given: Graph, options: LoweringOptions): LoweredProgram {
  const graph = decomposeAttention(given);
  const hlo = new HloBuilder();
  const parameters: string[] = [];
  const parameter = ({ dtype, shape }: TensorType, attributes: string, scope: string): Value => {
    const value = { name: `%arg${parameters.length}`, shape, type: ELEMENT_TYPE[dtype] };
    parameters.push(`${value.name}: ${typeText(value)}${attributes}${hlo.location(scope)}`);
    return value;
  };
  const inputs = new Map(
    graph.inputs.map(({ op }, i): [string, Value] => {
      const output = options.donated?.get(i);
      const alias = output === undefined ? "" : ` {tf.aliasing_output = ${output} : i32}`;
      return [op.name, parameter(op, alias, op.name)];
    }),
  );
  const constants: NodeOf<"constant">["op"][] = [];
  const values = new Map<Node, Value>();
  for (const node of nodesOf(graph)) {
    if (isOp(node, "input")) {
      values.set(node, inputs.get(node.op.name) as Value);
    } else if (isOp(node, "constant") && node.op.data.byteLength > (options.inlineBytes ?? Infinity)) {
      constants.push(node.op);
      values.set(node, parameter(node.op, "", node.scope));
    } else {
      hlo.scope = node.scope;
      hlo.precision = productPrecision(node, options.precision);
      const operands = node.inputs.map((input) => values.get(input)) as unknown as Operands;
      const lower = LOWERINGS[node.op.kind as keyof typeof LOWERINGS] as Lowering<OpKind>;
      values.set(node, lower(hlo, node, operands));
    }
  }
  const outputs = graph.outputs.map(({ node }) => values.get(node) as Value);
  const types = outputs.map(typeText).join(", ");
  const name = (options.name ?? graph.name).replace(/\W/g, "_") || "program";
  const text = [
    ...hlo.locationLines(),
    `module @${/^\d/.test(name) ? "_" : ""}${name} {`,
    `  func.func public @main(${parameters.join(", ")}) -> (${types}) {`,
    ...hlo.lines,
    `    "func.return"(${outputs.map(({ name }) => name).join(", ")}) : (${types}) -> ()`,
    "  }",
    "}",
    "",
  ].join("\n");
  return { text, constants };
}

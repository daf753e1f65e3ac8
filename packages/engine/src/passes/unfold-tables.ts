import { isOp, type Graph, type Node, type NodeOf } from "../ir/graph.js";
import { operand, reshaped, scalarOp } from "./nodes.js";
import { rewrite, type Rewriting, type Rule } from "./rewrite.js";

/** More pieces than this are not worth a concatenation: then the product stays. */
const MAX_PIECES = 8;

/**
 * Products with tables become what the tables stand for, where they only move columns about, or average over groups of
 * them. ONNX Runtime is fastest at products, and some functions are written for it; XLA makes one loop of anything but
 * products, and would multiply with every zero. Averages are rounded otherwise, and 0 · NaN is not added any more.
 */
export function unfoldTables(graph: Graph): Graph {
  return rewrite(graph, unfoldTable);
}

const unfoldTable: Rule = (node, rewriting) => {
  if (!isOp(node, "matmul") || node.inputs.length !== 2 || node.op.transposeA) return undefined;
  const table = node.inputs[1];
  if (table === undefined || !isOp(table, "constant") || table.shape.length !== 2) return undefined;
  return moveColumns(node, table, rewriting) ?? averageColumns(node, table, rewriting);
};

/** Columns of x that stand side by side in the result too, all with their sign or all with the other one. */
interface Piece {
  readonly start: number;
  size: number;
  readonly sign: number;
}

/** A table with a single 1 or -1 in each column: pieces of x, some negated, side by side. */
function moveColumns(node: NodeOf<"matmul">, table: NodeOf<"constant">, rewriting: Rewriting): Node | undefined {
  const { make } = rewriting;
  const pieces = piecesOf(table, node.op.transposeB);
  if (!pieces) return undefined;
  const x = operand(node);
  const before = x.shape.slice(0, -1);
  const parts = pieces.map(({ start, size, sign }) => {
    const whole = size === x.shape.at(-1);
    const steps = x.shape.map(() => 1);
    const part = whole ? x : make({ kind: "slice", starts: [...before.map(() => 0), start], sizes: [...before, size], steps }, x); // prettier-ignore
    return sign < 0 ? make({ kind: "unary", fn: "neg" }, part) : part;
  });
  const moved = parts.length === 1 ? (parts[0] as Node) : make({ kind: "concat", axis: before.length }, ...parts);
  return scaled(moved, node.op.alpha, rewriting);
}

function piecesOf({ op: { data }, shape }: NodeOf<"constant">, transposed: boolean): Piece[] | undefined {
  const [K = 0, N = 0] = transposed ? [...shape].reverse() : shape;
  if (K * N === 0 || !data.every((value) => value === 0 || value === 1 || value === -1)) return undefined;
  const pieces: Piece[] = [];
  for (let n = 0; n < N; n++) {
    const column = Array.from({ length: K }, (_, k) => data[transposed ? n * K + k : k * N + n] ?? 0);
    const start = column.findIndex((value) => value !== 0);
    if (start < 0 || start !== column.findLastIndex((value) => value !== 0)) return undefined;
    const [sign, last] = [column[start] ?? 0, pieces.at(-1)];
    if (last?.sign === sign && last.start + last.size === start) last.size++;
    else pieces.push({ start, size: 1, sign });
    if (pieces.length > MAX_PIECES) return undefined;
  }
  return pieces;
}

/** A table that is one number within square blocks along its diagonal, and 0 outside: sums over groups of columns. */
function averageColumns(node: NodeOf<"matmul">, table: NodeOf<"constant">, rewriting: Rewriting): Node | undefined {
  const { make } = rewriting;
  const width = blockWidth(table);
  if (width === undefined) return undefined;
  const x = operand(node);
  const rows = x.shape.slice(0, -1);
  const groups = (x.shape.at(-1) ?? 0) / width;
  const grouped = reshaped(rewriting, x, [...rows, groups, width]);
  const sums = make({ kind: "reduce", fn: "sum", axes: [rows.length + 1], keepDims: true }, grouped);
  const shares = scaled(sums, (table.op.data[0] ?? 0) * node.op.alpha, rewriting);
  return reshaped(rewriting, make({ kind: "broadcast", shape: grouped.shape }, shares), node.shape);
}

/** How wide the blocks are; nothing if the table is another. In plain loops: tables have millions of elements. */
function blockWidth({ op: { data }, shape: [K = 0, N = 0] }: NodeOf<"constant">): number | undefined {
  if (K !== N) return undefined;
  const [share = 0] = data;
  const width = data.subarray(0, N).findLastIndex((value) => value !== 0) + 1;
  if (width < 2 || N % width !== 0) return undefined;
  for (let k = 0, at = 0; k < N; k++) {
    const start = k - (k % width);
    const end = start + width;
    for (let n = 0; n < N; n++, at++) if (data[at] !== (n >= start && n < end ? share : 0)) return undefined;
  }
  return width;
}

function scaled(x: Node, factor: number, { make }: Rewriting): Node {
  return factor === 1 ? x : make({ kind: "binary", fn: "mul" }, x, make(scalarOp(factor, "float32")));
}

import { isOp, sizeOf, type Graph, type Node, type NodeOf, type Op } from "../ir/graph.js";
import { makeNode } from "../ir/infer.js";
import { orderedNodes, replaceNodes } from "./rewrite.js";
import { scalarOp } from "./nodes.js";

/**
 * Scores of one attention, in elements, that are computed at once and kept for the gradients: 16 MiB. Above, they are
 * computed part by part, once more for the gradients, and none is kept.
 */
export const KEPT_SCORES = 2 ** 22;

/** Operations that no graph has after this: a table of what else there is need not know them. */
export type Decomposed = "attention" | "attentionGrad";

type Attention = NodeOf<Decomposed>;
type Gradients = Readonly<Record<"q" | "k" | "v", Node>>;

/** Operands of an attention, and of its gradients. */
interface Operands {
  readonly q: Node;
  readonly k: Node;
  readonly v: Node;
  readonly mask: Node | undefined;
  readonly scale: number;
}

/**
 * `attention` and its gradients become products and softmax, for a runtime that has no operation for it:
 *
 *     S = scale · q kᵀ + mask        P = softmax(S)        y = P v
 *     dv = Pᵀ dy        dS = P ∘ (dP - Σ dP∘P), dP = dy vᵀ        dq = scale · dS k        dk = scale · dSᵀ q
 *
 * What is small is written as tfjs composes and differentiates it, one P for both directions. Of what is large, with
 * more than `limit` scores, parts are computed one after another, a few heads at a time, and a few queries where the
 * scores of one head are too many. Their gradients compute P again, and take Σ dy∘y for Σ dP∘P, which is the same. So
 * no more than `limit` scores are there at any time, whatever the number of queries and keys.
 *
 * Source: Dao et al. 2022 (FlashAttention), arXiv:2205.14135, appendix B; here a part has whole rows of scores, so no
 * softmax is put together from pieces.
 */
export function decomposeAttention(graph: Graph, limit = KEPT_SCORES): Graph {
  if (!orderedNodes(graph).some(isAttention)) return graph;
  const weights = new Map<string, Node>();
  const gradients = new Map<string, Gradients>();
  return replaceNodes(graph, (node, { scope }) => {
    const writer = new Writer(scope, weights, limit);
    if (isOp(node, "attention")) return writer.forward(operandsOf(node));
    if (!isOp(node, "attentionGrad")) return node;
    const key = node.inputs.map(({ id }) => id).join();
    let all = gradients.get(key);
    if (!all) gradients.set(key, (all = writer.backward(operandsOf(node), node.inputs[3]!, node.inputs[4]!)));
    return all[node.op.of];
  });
}

function isAttention(node: Node): node is Attention {
  return isOp(node, "attention") || isOp(node, "attentionGrad");
}

function operandsOf({ op, inputs }: Attention): Operands {
  const [q, k, v] = inputs as readonly [Node, Node, Node];
  return { q, k, v, mask: inputs[op.kind === "attention" ? 3 : 5], scale: op.scale };
}

/** A range of heads and queries. */
interface Part {
  readonly heads: readonly [start: number, end: number];
  readonly queries: readonly [start: number, end: number];
}

/** Equal ranges that cover [0, length), none longer than `most`, but for one of 1. */
function ranges(length: number, most: number): (readonly [number, number])[] {
  const count = Math.ceil(length / Math.max(1, Math.floor(most)));
  return Array.from({ length: count }, (_, i) => {
    return [Math.floor((i * length) / count), Math.floor(((i + 1) * length) / count)] as const;
  });
}

/** Makes the nodes that an attention consists of. */
class Writer {
  /** @param weights P of what is small, by its operands: shared by both directions. */
  constructor(
    private readonly scope: string,
    private readonly weights: Map<string, Node>,
    private readonly limit: number,
  ) {}

  forward(operands: Operands): Node {
    const { q, k, v } = operands;
    if (this.isSmall(operands)) return this.product(this.keptWeights(operands), v);
    let before: readonly Node[] = [];
    const rows = this.headsOf(operands).map((heads) => {
      const [ownK, ownV] = [this.cut(k, 0, heads), this.cut(v, 0, heads)];
      const ys = this.queriesOf(operands).map((queries) => {
        const part = { heads, queries };
        const y = this.product(this.partWeights(operands, this.partOf(q, part, before), ownK, part), ownV);
        before = [y];
        return y;
      });
      return this.joined(ys, 1);
    });
    return this.joined(rows, 0);
  }

  backward(operands: Operands, y: Node, dy: Node): Gradients {
    if (this.isSmall(operands)) return this.backwardAtOnce(operands, dy);
    const { q, k, v, scale } = operands;
    // Nothing is computed again before the gradient is there, nor before the part before has ended.
    let before: readonly Node[] = [dy];
    const rows = this.headsOf(operands).map((heads) => {
      const [ownK, ownV] = [this.cut(k, 0, heads), this.cut(v, 0, heads)];
      const dqs: Node[] = [];
      let dk: Node | undefined;
      let dv: Node | undefined;
      for (const queries of this.queriesOf(operands)) {
        const part = { heads, queries };
        const [ownQ, ownDy] = [this.partOf(q, part, before), this.partOf(dy, part, before)];
        const P = this.partWeights(operands, ownQ, ownK, part);
        const sums = this.rowSums(this.binary("mul", ownDy, this.partOf(y, part, [])));
        const dS = this.binary("mul", P, this.binary("sub", this.product(ownDy, ownV, "b"), sums));
        dqs.push(this.product(dS, ownK, "", scale));
        dk = this.plus(dk, this.product(dS, ownQ, "a", scale));
        dv = this.plus(dv, this.product(P, ownDy, "a"));
        before = [dqs.at(-1)!, dk, dv];
      }
      return { q: this.joined(dqs, 1), k: dk!, v: dv! };
    });
    const all = (of: keyof Gradients): Node =>
      this.joined(
        rows.map((row) => row[of]),
        0,
      );
    return { q: all("q"), k: all("k"), v: all("v") };
  }

  /** As tfjs differentiates products and softmax. */
  private backwardAtOnce(operands: Operands, dy: Node): Gradients {
    const { q, k, v, scale } = operands;
    const P = this.keptWeights(operands);
    const weighted = this.binary("mul", this.product(dy, v, "b"), P);
    const dS = this.binary("sub", weighted, this.binary("mul", this.rowSums(weighted), P));
    const scaled = this.binary("mul", dS, this.node(scalarOp(scale, "float32")));
    return { q: this.product(scaled, k), k: this.product(scaled, q, "a"), v: this.product(P, dy, "a") };
  }

  /** P of what is small. */
  private keptWeights({ q, k, mask, scale }: Operands): Node {
    const key = [q.id, k.id, mask?.id, scale].join();
    const known = this.weights.get(key);
    if (known) return known;
    const scaled = this.binary("mul", this.product(q, k, "b"), this.node(scalarOp(scale, "float32")));
    const P = this.node({ kind: "softmax" }, mask ? this.binary("add", scaled, mask) : scaled);
    this.weights.set(key, P);
    return P;
  }

  private partWeights({ mask, scale }: Operands, q: Node, k: Node, { heads, queries }: Part): Node {
    const scores = this.product(q, k, "b", scale);
    if (!mask) return this.node({ kind: "softmax" }, scores);
    const axis = (fromEnd: number): number => mask.shape.length - fromEnd;
    const own = this.cut(this.cut(mask, axis(3), heads), axis(2), queries);
    return this.node({ kind: "softmax" }, this.binary("add", scores, own));
  }

  private isSmall({ q, k }: Operands): boolean {
    return sizeOf(q.shape.slice(0, 2)) * k.shape[1]! <= this.limit;
  }

  private headsOf({ q, k }: Operands): (readonly [number, number])[] {
    return ranges(q.shape[0]!, this.limit / (q.shape[1]! * k.shape[1]!));
  }

  private queriesOf({ q, k }: Operands): (readonly [number, number])[] {
    return ranges(q.shape[1]!, this.limit / k.shape[1]!);
  }

  /** A part of a tensor that has heads and queries, not before what comes before it. */
  private partOf(x: Node, { heads, queries }: Part, before: readonly Node[]): Node {
    const part = this.cut(this.cut(x, 0, heads), 1, queries);
    return before.length === 0 ? part : this.node({ kind: "barrier" }, part, ...before);
  }

  /** A range of an axis: the tensor itself, if it has no such axis or one of size 1, or if that is all of it. */
  private cut(x: Node, axis: number, [start, end]: readonly [number, number]): Node {
    const size = x.shape[axis] ?? 1;
    if (size === 1 || end - start === size) return x;
    const starts = x.shape.map((_, i) => (i === axis ? start : 0));
    const sizes = x.shape.map((size, i) => (i === axis ? end - start : size));
    return this.node({ kind: "slice", starts, sizes, steps: x.shape.map(() => 1) }, x);
  }

  private joined(parts: readonly Node[], axis: number): Node {
    return parts.length === 1 ? parts[0]! : this.node({ kind: "concat", axis }, ...parts);
  }

  private plus(sum: Node | undefined, x: Node): Node {
    return sum ? this.binary("add", sum, x) : x;
  }

  /** alpha · a × b, one of them transposed. */
  private product(a: Node, b: Node, transposed: "" | "a" | "b" = "", alpha = 1): Node {
    const [transposeA, transposeB] = [transposed === "a", transposed === "b"];
    return this.node({ kind: "matmul", transposeA, transposeB, alpha }, a, b);
  }

  private rowSums(x: Node): Node {
    return this.node({ kind: "reduce", fn: "sum", axes: [2], keepDims: true }, x);
  }

  private binary(fn: "add" | "sub" | "mul", a: Node, b: Node): Node {
    return this.node({ kind: "binary", fn }, a, b);
  }

  private node(op: Op, ...inputs: readonly Node[]): Node {
    return makeNode(op, inputs, this.scope);
  }
}

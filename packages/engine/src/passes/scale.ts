import { isOp, sizeOf, type DType, type Node } from "../ir/graph.js";
import { isUnary, operand, scalarOp, scalarValue } from "./nodes.js";
import type { Rewriting } from "./rewrite.js";

/** A node as the product of another one with a number. */
export interface Scaled {
  readonly x: Node;
  /** In double precision: rounded once, when it becomes a constant. */
  readonly factor: number;
}

/** Takes a number out of a product with it, a quotient by it, or a change of sign. */
export function scaledBy(node: Node): Scaled | undefined {
  const [a, b] = node.inputs;
  if (isUnary(node, "neg")) return { x: a!, factor: -1 };
  if (!isOp(node, "binary")) return undefined;
  const [left, right] = [scalarValue(a), scalarValue(b)];
  if (node.op.fn === "mul" && right !== undefined) return { x: a!, factor: right };
  if (node.op.fn === "mul" && left !== undefined) return { x: b!, factor: left };
  if (node.op.fn === "div" && node.dtype === "float32" && right !== undefined) return { x: a!, factor: 1 / right };
  return undefined;
}

/** The product of two factors; nothing where float32 would lose digits of it that the factors had. */
export function productOf(a: number, b: number, dtype: DType): number | undefined {
  if (dtype === "int32") return Math.imul(a, b);
  const product = a * b;
  return isNormal(product) ? product : undefined;
}

/** Whether float32 holds a number in full precision: neither zero nor next to it, and finite. */
export function isNormal(value: number): boolean {
  return Math.abs(value) >= 2 ** -126 && Number.isFinite(Math.fround(value));
}

/** Whether a tensor is so small beside another one that a pass over it does not count. */
export function isSmallBeside(x: Node, large: Node): boolean {
  return sizeOf(x.shape) * 4 <= sizeOf(large.shape);
}

/** `x` times a number, as one more pass over it. */
export function multiply({ make }: Rewriting, x: Node, factor: number): Node {
  if (factor === 1) return x;
  if (factor === -1) return make({ kind: "unary", fn: "neg" }, x);
  return make({ kind: "binary", fn: "mul" }, x, make(scalarOp(factor, x.dtype)));
}

/**
 * `x` times a number without a pass of its own: by changing a number or a small tensor that `x` is multiplied by
 * anyway.
 *
 * @param depth How many operations to look through.
 * @returns Nothing if there is none such, or the unchanged `x` is needed elsewhere.
 */
export function absorbFactor(rewriting: Rewriting, x: Node, factor: number, depth = 4): Node | undefined {
  const { make, uses } = rewriting;
  const scaled = scaledBy(x);
  if (scaled) {
    const product = productOf(scaled.factor, factor, x.dtype);
    return product === undefined ? undefined : multiply(rewriting, scaled.x, product);
  }
  if (uses(x) !== 1 || depth === 0) return undefined;
  const [a, b] = x.inputs as [Node, Node];
  switch (x.op.kind) {
    case "matmul": {
      if (x.inputs.length > 2) return undefined;
      const alpha = productOf(x.op.alpha, factor, "float32");
      return alpha === undefined ? undefined : make({ ...x.op, alpha: Math.fround(alpha) }, a, b);
    }
    case "reshape":
    case "transpose": {
      const inner = absorbFactor(rewriting, operand(x), factor, depth - 1);
      return inner && make(x.op, inner);
    }
    case "binary": {
      if (x.op.fn === "sub" && factor === -1) return make(x.op, b, a);
      if (x.op.fn !== "mul" && x.op.fn !== "div") return undefined;
      if (x.dtype !== "float32" && x.op.fn === "div") return undefined;
      if (isSmallBeside(a, x)) return make(x.op, multiply(rewriting, a, factor), b);
      const left = absorbFactor(rewriting, a, factor, depth - 1);
      if (left) return make(x.op, left, b);
      if (x.op.fn === "div") return undefined;
      const right = isSmallBeside(b, x)
        ? multiply(rewriting, b, factor)
        : absorbFactor(rewriting, b, factor, depth - 1);
      return right && make(x.op, a, right);
    }
    default:
      return undefined;
  }
}

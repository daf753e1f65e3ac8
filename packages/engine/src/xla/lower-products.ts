import { sizeOf, type Node, type Shape } from "../ir/graph.js";
import type { HloBuilder, Value } from "./builder.js";
import type { Lowering } from "./lower.js";

export const lowerMatmul: Lowering<"matmul"> = (hlo, { op, shape }, [a, b, c]) => {
  let product = multiply(hlo, op, a, b, shape);
  if (op.alpha !== 1) product = hlo.mapScalar("multiply", product, op.alpha);
  return c === undefined ? product : hlo.map("add", product, hlo.broadcast(c, shape));
};

type Flags = Pick<Extract<Node["op"], { kind: "matmul" }>, "transposeA" | "transposeB">;

/** The summed axis of each operand. */
const innerA = (a: Value, { transposeA }: Flags): number => a.shape.length - (transposeA ? 2 : 1);
const innerB = (b: Value, { transposeB }: Flags): number => b.shape.length - (transposeB ? 1 : 2);

/** op(a) × op(b), in the fewest batches: one matrix beside many is multiplied with all of them at once. */
function multiply(hlo: HloBuilder, op: Flags, a: Value, b: Value, shape: Shape): Value {
  const batch = shape.slice(0, -2);
  const isOne = (x: Value): boolean => sizeOf(x.shape.slice(0, -2)) === 1;
  const matrix = (x: Value): Value => hlo.reshape(x, x.shape.slice(-2));
  if (isOne(b)) {
    const [left, right] = [isOne(a) ? matrix(a) : hlo.broadcast(a, [...batch, ...a.shape.slice(-2)]), matrix(b)];
    return hlo.reshape(hlo.dot(left, right, innerA(left, op), innerB(right, op), 0), shape);
  }
  if (isOne(a)) {
    // The rows of `a` come first, before the batch axes of `b`: they are moved behind them.
    const [left, right] = [matrix(a), hlo.broadcast(b, [...batch, ...b.shape.slice(-2)])];
    const product = hlo.dot(left, right, innerA(left, op), innerB(right, op), 0); // (M, ...batch, N)
    return hlo.transpose(product, [...batch.map((_, i) => i + 1), 0, batch.length + 1]);
  }
  const [left, right] = [a, b].map((x) => hlo.broadcast(x, [...batch, ...x.shape.slice(-2)])) as [Value, Value];
  return hlo.dot(left, right, innerA(left, op), innerB(right, op), batch.length);
}

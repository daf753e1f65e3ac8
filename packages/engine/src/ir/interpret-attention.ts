import type { NodeOf, Shape } from "./graph.js";

interface Operand {
  readonly shape: Shape;
  readonly data: Float64Array;
}

type Three = readonly [number, number, number];

/** Row i of the tensor (N, R, C) in image or head n. */
const row = ({ shape: [, R = 0, C = 0], data }: Operand, n: number, i: number): Float64Array =>
  data.subarray((n * R + i) * C, (n * R + i + 1) * C);

const dot = (a: Float64Array, b: Float64Array): number => a.reduce((sum, x, i) => sum + x * b[i]!, 0);

/** The mask's number for a query and a key: 0 without one. */
function masked(mask: Operand | undefined, at: Three): number {
  if (!mask) return 0;
  const shape = [...new Array<number>(3 - mask.shape.length).fill(1), ...mask.shape];
  return mask.data[shape.reduce((index, size, axis) => index * size + (size === 1 ? 0 : at[axis]!), 0)]!;
}

/** How a query's attention is spread over the keys: softmax(scale · q kᵀ + mask), one row. */
function weightsOf(scale: number, q: Operand, k: Operand, mask: Operand | undefined, n: number, i: number) {
  const scores = Float64Array.from({ length: k.shape[1]! }, (_, j) => {
    return scale * dot(row(q, n, i), row(k, n, j)) + masked(mask, [n, i, j]);
  });
  const largest = scores.reduce((max, score) => Math.max(max, score), -Infinity);
  const powers = scores.map((score) => Math.exp(score - largest));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}

/** What `attention` means. */
export function attention({ scale }: NodeOf<"attention">["op"], inputs: readonly Operand[]): Float64Array {
  const [q, k, v, mask] = inputs as readonly [Operand, Operand, Operand, Operand | undefined];
  const [N, Q, E] = [q.shape[0]!, q.shape[1]!, v.shape[2]!];
  const y = new Float64Array(N * Q * E);
  for (let n = 0; n < N; n++)
    for (let i = 0; i < Q; i++)
      weightsOf(scale, q, k, mask, n, i).forEach((weight, j) => {
        row(v, n, j).forEach((value, e) => (y[(n * Q + i) * E + e]! += weight * value));
      });
  return y;
}

/**
 * What `attentionGrad` means, with P = softmax(scale · q kᵀ + mask):
 *
 *     dv = Pᵀ dy        dS = P ∘ (dy vᵀ - Σ dy∘y)        dq = scale · dS k        dk = scale · dSᵀ q
 */
export function attentionGrad({ of, scale }: NodeOf<"attentionGrad">["op"], inputs: readonly Operand[]): Float64Array {
  const [q, k, v, y, dy, mask] = inputs as readonly [Operand, Operand, Operand, Operand, Operand, Operand | undefined];
  const [N, Q, D] = q.shape as Three;
  const [, K, E] = v.shape as Three;
  const result = new Float64Array({ q, k, v }[of].data.length);
  const add = (at: number, factor: number, values: Float64Array): void =>
    values.forEach((value, c) => (result[at + c]! += factor * value));
  for (let n = 0; n < N; n++)
    for (let i = 0; i < Q; i++) {
      const total = dot(row(dy, n, i), row(y, n, i));
      weightsOf(scale, q, k, mask, n, i).forEach((weight, j) => {
        if (of === "v") return add((n * K + j) * E, weight, row(dy, n, i));
        const dS = scale * weight * (dot(row(dy, n, i), row(v, n, j)) - total);
        if (of === "q") add((n * Q + i) * D, dS, row(k, n, j));
        else add((n * K + j) * D, dS, row(q, n, i));
      });
    }
  return result;
}

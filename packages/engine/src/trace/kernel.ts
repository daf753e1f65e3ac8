import type { Node } from "../ir/graph.js";
import type { TraceBackend } from "./backend.js";

/** Operands of a tfjs kernel by tfjs' names. A kernel asks only for names its tfjs declaration promises. */
export type Operands = { readonly [name: string]: Node } & Readonly<
  Record<
    "x" | "a" | "b" | "dy" | "y" | "condition" | "t" | "e" | "alpha" | "input" | "filter" | "images" | "indices",
    Node
  >
>;

/**
 * What a tfjs kernel records: nodes for its operands, made with `trace`.
 *
 * @param list The operands in order, for kernels that take any number of them.
 */
export type Kernel = (
  trace: TraceBackend,
  inputs: Operands,
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- tfjs types attributes per kernel; each names its own
  attrs: any,
  list: readonly Node[],
) => Node | readonly Node[];

/** Kernels by their tfjs name. */
export type Kernels = Readonly<Record<string, Kernel>>;

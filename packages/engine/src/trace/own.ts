import { ATTENTION, ATTENTION_GRAD } from "../ops/attention.js";
import { BARRIER } from "../ops/recomputed.js";
import type { Kernels } from "./kernel.js";

/** Kernels of this engine's own functions, which tfjs does not know: their operands come in the order of the IR. */
export const OWN: Kernels = {
  [ATTENTION]: (trace, _inputs, { scale }: { scale: number }, list) =>
    trace.node({ kind: "attention", scale }, ...list),
  [ATTENTION_GRAD]: (trace, _inputs, { scale, of }: { scale: number; of: "q" | "k" | "v" }, list) =>
    trace.node({ kind: "attentionGrad", of, scale }, ...list),
  [BARRIER]: (trace, _inputs, _attributes, list) => trace.node({ kind: "barrier" }, ...list),
};

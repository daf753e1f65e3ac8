import type { Backend } from "../../backend.js";
import { EagerExecutor } from "./executor.js";

/** Calls the function operation by operation on tfjs' own backend `cpu`: the oracle of the tests. */
export const cpu: Backend<unknown> = {
  precisions: ["float32"],
  prepare: ({ fn, fields, constants }) => ({
    optimized: undefined,
    load: async () => new EagerExecutor("cpu", fn, fields, constants),
  }),
};

import * as tf from "@tensorflow/tfjs-core";
import type { Backend } from "../../backend.js";
import { EagerExecutor } from "./executor.js";

/** Calls the function operation by operation on tfjs' own backend `cpu`: the oracle of the tests. */
export const cpu: Backend<unknown> = {
  precisions: ["float32"],
  state: () => ({ version: tf.version_core, devices: ["cpu"], notes: ["slow: the oracle of the tests"] }),
  prepare: ({ fn, fields, constants }) => ({
    optimized: undefined,
    load: async () => new EagerExecutor("cpu", fn, fields, constants),
  }),
};

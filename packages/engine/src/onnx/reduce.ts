import type { ReduceFunction } from "../ir/graph.js";

/** ONNX operators of reductions. Of booleans 0 and 1, any is the largest and all the smallest. */
export const REDUCE = {
  sum: "ReduceSum",
  mean: "ReduceMean",
  max: "ReduceMax",
  min: "ReduceMin",
  prod: "ReduceProd",
  sumSquare: "ReduceSumSquare",
  any: "ReduceMax",
  all: "ReduceMin",
} as const satisfies Record<ReduceFunction, string>;

import type { Graph } from "../ir/graph.js";
export function optimize(graph: Graph): { graph: Graph } {
  return { graph };
}

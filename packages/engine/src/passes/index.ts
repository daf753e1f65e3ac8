import { fuseAddends } from "../onnx/passes/fuse-addends.js";
import { productsForConvolutions } from "../onnx/passes/products-for-convolutions.js";
import { turnConstants } from "../onnx/passes/turn-constants.js";
import { type Graph, type OpKind } from "../ir/graph.js";
import { decomposeAttention } from "./decompose-attention.js";
import { eliminateCommonSubexpressions } from "./eliminate-common-subexpressions.js";
import { foldConstant } from "./fold-constants.js";
import { foldShape } from "./fold-shapes.js";
import { fuseNorms } from "./fuse-norms.js";
import { mergePaddedSums } from "./merge-padded-sums.js";
import { reuseAttentionOutput } from "./reuse-attention-output.js";
import { firstOf, orderedNodes, rewrite } from "./rewrite.js";
import { pushBroadcast } from "./scalars.js";
import { simplifyNode } from "./simplify-algebra.js";
import { sinkTransposes } from "./sink-transposes.js";
import { unfoldTables } from "./unfold-tables.js";

/**
 * What a graph is made ready for: a backend that knows what its runtime is fast at, or `any` runtime, of which nothing
 * is known (the interpreter's graphs, and those of tests).
 */
export const TARGETS = ["onnx", "openvino", "xla", "tensorflow", "any"] as const;
export type Target = (typeof TARGETS)[number];

/** What one pass did. */
export interface PassReport {
  readonly pass: string;
  /** Nodes of the graph before and after, inputs and constants among them. */
  readonly before: number;
  readonly after: number;
  readonly ms: number;
}

interface Pass {
  readonly name: string;
  readonly run: (graph: Graph) => Graph;
  /** What it makes better: less work for everybody, or work that some runtimes alone are faster at. */
  readonly targets: readonly Target[];
  /** The pass does nothing to a graph without an operation of one of these kinds. */
  readonly needs?: readonly OpKind[];
  /** Nor to one with an operation of this kind. */
  readonly unless?: OpKind;
}

/** The rules that look at one node and its operands, together: what one of them makes, the others see at once. */
const simplifyRule = firstOf(foldConstant, pushBroadcast, foldShape, simplifyNode);

/** Constants folded, broadcasts pushed down, shapes folded, algebra simplified, all in one go over the graph. */
export function simplify(graph: Graph): Graph {
  return rewrite(graph, simplifyRule);
}

/** What is known by how it was traced: other passes would change that. */
const FIRST_PASSES: readonly Pass[] = [
  // What is computed a second time for the gradients must be the same numbers both times: neither is fused.
  { name: "fuseNorms", run: fuseNorms, targets: TARGETS, needs: ["reduce"], unless: "barrier" },
  {
    name: "decomposeAttention",
    run: (graph) => decomposeAttention(graph),
    targets: TARGETS,
    needs: ["attention", "attentionGrad"],
  },
  { name: "unfoldTables", run: unfoldTables, targets: ["xla"], needs: ["matmul"] },
];

/** XLA chooses in which order tensors lie in memory by itself: to it a transpose is often nothing. */
const NOT_XLA = TARGETS.filter((target) => target !== "xla");

/** Each makes chances for the others; they run in turn until none finds anything. */
const PASSES: readonly Pass[] = [
  { name: "eliminateCommonSubexpressions", run: eliminateCommonSubexpressions, targets: TARGETS },
  { name: "reuseAttentionOutput", run: reuseAttentionOutput, targets: TARGETS, needs: ["softmax"] },
  { name: "mergePaddedSums", run: mergePaddedSums, targets: TARGETS, needs: ["pad"] },
  { name: "simplify", run: simplify, targets: TARGETS },
  { name: "productsForConvolutions", run: productsForConvolutions, targets: ["onnx"] },
  { name: "sinkTransposes", run: sinkTransposes, targets: NOT_XLA, needs: ["transpose"] },
];

/** An addition that a matmul or a convolution has taken in is hidden from the passes before: this comes after them. */
const LAST_PASSES: readonly Pass[] = [
  { name: "fuseAddends", run: fuseAddends, targets: ["onnx"], needs: ["binary"] },
  { name: "eliminateCommonSubexpressions", run: eliminateCommonSubexpressions, targets: TARGETS },
  { name: "simplify", run: simplify, targets: TARGETS },
  { name: "turnConstants", run: turnConstants, targets: ["openvino"], needs: ["matmul"] },
];

/** All that was traced so far settles within three rounds. */
const ROUNDS = 6;

/**
 * Makes a graph cheaper to run without changing what it computes, except for rounding (each pass says where).
 *
 * @param target What is to run it: passes for others are left out.
 * @returns The graph, and what each pass that ran did, in order.
 */
export function optimize(
  graph: Graph,
  target: Target,
): { readonly graph: Graph; readonly report: readonly PassReport[] } {
  const report: PassReport[] = [];
  const stages = [FIRST_PASSES, PASSES, LAST_PASSES].map((passes) =>
    passes.filter(({ targets }) => targets.includes(target)),
  );
  return { graph: stages.reduce((current, passes) => settle(current, passes, report), graph), report };
}

/** Runs passes in turn until none of them changes anything, or the rounds are up. */
function settle(graph: Graph, passes: readonly Pass[], report: PassReport[]): Graph {
  /** The graph that a pass has left as it was. */
  const settled = new Map<Pass, Graph>();
  let current = graph;
  for (let round = 0; round < ROUNDS; round++) {
    const first = current;
    for (const pass of passes) {
      const nodes = orderedNodes(current);
      if (settled.get(pass) === current) continue;
      if (pass.needs !== undefined && !nodes.some(({ op }) => pass.needs!.includes(op.kind))) continue;
      if (pass.unless !== undefined && nodes.some(({ op }) => op.kind === pass.unless)) continue;
      const start = performance.now();
      const next = pass.run(current);
      if (next === current) settled.set(pass, current);
      const after = orderedNodes(next).length;
      report.push({ pass: pass.name, before: nodes.length, after, ms: performance.now() - start });
      current = next;
    }
    if (current === first) break;
  }
  return current;
}

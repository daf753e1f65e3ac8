import { isOp, sameNumbers, sizeOf, type Graph, type Node, type Op, type Shape } from "../ir/graph.js";
import { makeNode } from "../ir/infer.js";
import { isBinary, operand, scalarOp } from "./nodes.js";
import { orderedNodes, replaceNodes, UseCounts } from "./rewrite.js";

/**
 * Sums of zero-padded tensors become concats and sums of smaller ones.
 *
 * The gradient of a slice is a pad, and the gradients of all slices of a tensor are added up: k slices take k pads and
 * k - 1 sums, each as large as the whole tensor, most of it zeros. Instead, along one axis after the other,
 *
 * - parts that cover the same range are added before they are padded;
 * - parts side by side become one concat, with zeros in the gaps;
 * - a part within the range of another one is padded to that range only, and added there. (Attention by causal blocks
 *   takes the keys 0..1, 0..2, 0..3, ... of one tensor.)
 *
 * Terms are added in another order, and 0 is no longer added to most elements: the result may differ by rounding.
 */
export function mergePaddedSums(graph: Graph): Graph {
  if (orderedNodes(graph).filter(isZeroPad).length < 2) return graph;
  const counts = new UseCounts(graph);
  const inner = innerSums(graph, counts);
  return replaceNodes(graph, (node, source) => {
    if (!isBinary(node, "add") || inner.has(source)) return node;
    // Terms of another shape are broadcast by the addition that takes them: they come last.
    const all = termsOf(node, source, inner);
    const isWhole = ({ shape }: Node): boolean => sameNumbers(shape, node.shape);
    const terms = all.filter(isWhole);
    const pads = terms.filter(isZeroPad);
    if (pads.length < 2) return node;
    const make: Make = (op, ...inputs) => makeNode(op, inputs, node.scope);
    const parts = terms.map((term): Part => {
      const none = term.shape.map(() => 0);
      return isZeroPad(term)
        ? { node: operand(term), before: term.op.before, after: term.op.after }
        : { node: term, before: none, after: none };
    });
    const sum = sumOf(parts, node.shape, make);
    // A pad that was rebuilt is not counted, and taken to have no other users.
    const saved = pads.reduce((cost, pad) => cost + (counts.of(pad) <= 1 ? costOf(pad) : 0), 0);
    const before = (terms.length - 1) * 3 * sizeOf(node.shape) + saved;
    if (costDownTo(sum, new Set(parts.map((part) => part.node))) >= before) return node;
    return [sum, ...all.filter((term) => !isWhole(term))].reduce(addWith(make));
  });
}

type Make = (op: Op, ...inputs: readonly Node[]) => Node;
const addWith =
  (make: Make) =>
  (a: Node, b: Node): Node =>
    make({ kind: "binary", fn: "add" }, a, b);

type ZeroPad = Node & { readonly op: Extract<Op, { kind: "pad" }> };

function isZeroPad(node: Node): node is ZeroPad {
  return isOp(node, "pad") && node.op.value === 0;
}

/** Additions that are used once, by an addition of the same shape. */
function innerSums(graph: Graph, counts: UseCounts): Set<Node> {
  const inner = new Set<Node>();
  for (const user of orderedNodes(graph))
    if (isBinary(user, "add"))
      for (const node of user.inputs)
        if (isBinary(node, "add") && counts.of(node) === 1 && sameNumbers(user.shape, node.shape)) inner.add(node);
  return inner;
}

/** What a tree of additions adds up: operands of its inner sums, from left to right. */
function termsOf(root: Node, source: Node, inner: ReadonlySet<Node>): Node[] {
  const terms: Node[] = [];
  const stack: [Node, Node][] = [[root, source]];
  for (let next = stack.pop(); next; next = stack.pop()) {
    const [node, original] = next;
    if (original !== source && !inner.has(original)) terms.push(node);
    else for (const i of [1, 0]) stack.push([node.inputs[i]!, original.inputs[i]!]);
  }
  return terms;
}

/** A tensor with zeros around it. */
interface Part {
  readonly node: Node;
  readonly before: Shape;
  readonly after: Shape;
}

/** The sum of parts that fill `shape` with their zeros. */
function sumOf(parts: readonly Part[], shape: Shape, make: Make): Node {
  const [first, ...rest] = parts as [Part, ...Part[]];
  if (rest.length === 0) return padded(first, make);
  const axis = axisToMerge(parts, shape);
  if (axis === undefined) return parts.map(({ node }) => node).reduce(addWith(make));

  const ranges = new Map<string, Part[]>();
  for (const part of parts) {
    const key = `${part.before[axis]},${part.after[axis]}`;
    const same = ranges.get(key);
    if (same) same.push(part);
    else ranges.set(key, [part]);
  }
  const stretches = [...ranges.values()].map((same): Stretch => {
    const start = same[0]!.before[axis]!;
    const end = shape[axis]! - same[0]!.after[axis]!;
    const bare = same.map(({ node, before, after }) => ({
      node,
      before: before.with(axis, 0),
      after: after.with(axis, 0),
    }));
    return { start, end, node: sumOf(bare, shape.with(axis, end - start), make), within: [] };
  });
  return nest(stretches, axis, shape[axis]!, make);
}

function padded({ node, before, after }: Part, make: Make): Node {
  return [...before, ...after].every((n) => n === 0) ? node : make({ kind: "pad", before, after, value: 0 }, node);
}

/**
 * The axis along which to put parts together last: one along which all have the same range, else one along which their
 * ranges do not overlap, else the one with the fewest ranges. Nothing if no part is padded.
 */
function axisToMerge(parts: readonly Part[], shape: Shape): number | undefined {
  let best: { axis: number; rank: number; count: number } | undefined;
  for (const axis of shape.keys()) {
    if (parts.every(({ before, after }) => before[axis] === 0 && after[axis] === 0)) continue;
    const ends = new Map(
      parts.map(({ before, after }) => [`${before[axis]},${after[axis]}`, [before[axis]!, after[axis]!]]),
    );
    const ranges = [...ends.values()].map(([before, after]) => [before!, shape[axis]! - after!] as const);
    ranges.sort(([a], [b]) => a - b);
    const disjoint = ranges.every(([start], i) => i === 0 || start >= ranges[i - 1]![1]);
    const rank = ranges.length === 1 ? 0 : disjoint ? 1 : 2;
    if (!best || rank < best.rank || (rank === best.rank && ranges.length < best.count))
      best = { axis, rank, count: ranges.length };
  }
  return best?.axis;
}

/** A range of an axis, what covers it, and shorter ranges within it. */
interface Stretch {
  readonly start: number;
  readonly end: number;
  readonly node: Node | undefined;
  readonly within: Stretch[];
}

const contains = (outer: Stretch, inner: Stretch): boolean => outer.start <= inner.start && inner.end <= outer.end;

/** The sum of stretches, no two the same, over the whole axis. */
function nest(stretches: readonly Stretch[], axis: number, size: number, make: Make): Node {
  const longestFirst = stretches.toSorted((a, b) => b.end - b.start - (a.end - a.start));
  const whole = longestFirst[0]!;
  const root: Stretch = whole.end - whole.start === size ? whole : { start: 0, end: size, node: undefined, within: [] };
  for (const stretch of longestFirst) {
    if (stretch === root) continue;
    let outer = root;
    for (let next: Stretch | undefined = root; next; next = outer.within.find((other) => contains(other, stretch)))
      outer = next;
    outer.within.push(stretch);
  }
  // Shortest first: what lies within a stretch is summed up when its turn comes.
  const sums = new Map<Stretch, Node>();
  for (const stretch of new Set([...longestFirst.toReversed(), root])) {
    const layers = layersOf(stretch.within).map((layer) => fill(stretch, layer, sums, axis, make));
    const terms = stretch.node ? [stretch.node, ...layers] : layers;
    sums.set(stretch, terms.reduce(addWith(make)));
  }
  return sums.get(root)!;
}

/** Stretches sorted into lists in which none overlap. */
function layersOf(stretches: readonly Stretch[]): Stretch[][] {
  const layers: Stretch[][] = [];
  for (const stretch of stretches.toSorted((a, b) => a.start - b.start)) {
    const layer = layers.find((other) => other.at(-1)!.end <= stretch.start);
    if (layer) layer.push(stretch);
    else layers.push([stretch]);
  }
  return layers;
}

/** Stretches side by side, with zeros in the gaps, over the range of `outer`. */
function fill(
  outer: Stretch,
  layer: readonly Stretch[],
  sums: ReadonlyMap<Stretch, Node>,
  axis: number,
  make: Make,
): Node {
  const [first] = layer as [Stretch];
  const like = sums.get(first)!;
  if (layer.length === 1) {
    const none = like.shape.map(() => 0);
    const [before, after] = [none.with(axis, first.start - outer.start), none.with(axis, outer.end - first.end)];
    return padded({ node: like, before, after }, make);
  }
  const pieces: Node[] = [];
  let at = outer.start;
  const zerosUpTo = (end: number): void => {
    if (end === at) return;
    const zero = make(scalarOp(0, like.dtype));
    pieces.push(make({ kind: "broadcast", shape: like.shape.with(axis, end - at) }, zero));
  };
  for (const stretch of layer) {
    zerosUpTo(stretch.start);
    pieces.push(sums.get(stretch)!);
    at = stretch.end;
  }
  zerosUpTo(outer.end);
  return make({ kind: "concat", axis }, ...pieces);
}

/** Elements read and written. */
function costOf(node: Node): number {
  return node.inputs.reduce((sum, input) => sum + sizeOf(input.shape), sizeOf(node.shape));
}

/** The cost of what is computed from `leaves`. */
function costDownTo(root: Node, leaves: ReadonlySet<Node>): number {
  const seen = new Set<Node>();
  const stack = [root];
  let cost = 0;
  for (let node = stack.pop(); node; node = stack.pop()) {
    if (leaves.has(node) || seen.has(node)) continue;
    seen.add(node);
    cost += costOf(node);
    stack.push(...node.inputs);
  }
  return cost;
}

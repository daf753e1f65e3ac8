import { isOp, sameNumbers, sizeOf, type Node, type NodeOf, type Op, type Shape } from "../ir/graph.js";
import { groupAxes } from "./axis-groups.js";
import { filledValue, operand, reshaped, scalarOp } from "./nodes.js";
import type { Rewriting, Rule } from "./rewrite.js";

type SliceOp = Extract<Op, { kind: "slice" }>;

/** Slices, pads and concats that undo, repeat or contain each other become one or none. */
export const foldCuts: Rule = (node, rewriting) => {
  switch (node.op.kind) {
    case "slice":
      return foldSlice(node as NodeOf<"slice">, rewriting);
    case "pad":
      return foldPad(node as NodeOf<"pad">, rewriting);
    case "concat":
      return foldConcat(node as NodeOf<"concat">, rewriting);
    case "tile":
      return node.op.repeats.every((times) => times === 1) ? operand(node) : undefined;
    default:
      return undefined;
  }
};

function foldSlice(node: NodeOf<"slice">, rewriting: Rewriting): Node | undefined {
  const x = operand(node);
  const { starts, sizes, steps } = node.op;
  if (sizeOf(sizes) === 0) return undefined;
  const whole = (axis: number): boolean => sizes[axis] === x.shape[axis] && (steps[axis] === 1 || sizes[axis] === 1);
  if (x.shape.every((_, axis) => whole(axis))) return x;
  const forward = steps.map((step, axis) => (sizes[axis] === 1 ? 1 : step));
  if (!sameNumbers(forward, steps)) return rewriting.make({ ...node.op, steps: forward }, x);
  if (isOp(x, "slice")) return rewriting.make(composeSlices(x.op, node.op), operand(x));
  if (isOp(x, "concat")) return sliceConcat(node, x, rewriting);
  if (isOp(x, "pad")) return slicePad(node, x, rewriting);
  if (isOp(x, "reshape") && starts.every((_, axis) => whole(axis) || steps[axis] === 1))
    return sliceReshape(node, x, rewriting);
  return undefined;
}

function composeSlices(first: SliceOp, second: SliceOp): SliceOp {
  return {
    kind: "slice",
    starts: second.starts.map((start, axis) => first.starts[axis]! + start * first.steps[axis]!),
    sizes: second.sizes,
    steps: second.steps.map((step, axis) => step * first.steps[axis]!),
  };
}

/** A slice within one operand of a concat is a slice of that operand; one of several whole operands is their concat. */
function sliceConcat(node: NodeOf<"slice">, x: NodeOf<"concat">, { make }: Rewriting): Node | undefined {
  const { axis } = x.op;
  const { op } = node;
  const [start, size, step] = [op.starts[axis]!, op.sizes[axis]!, op.steps[axis]!];
  if (step !== 1) return undefined;
  const taken: Node[] = [];
  let offset = 0;
  for (const part of x.inputs) {
    const end = offset + part.shape[axis]!;
    if (start >= offset && start + size <= end)
      return make({ ...op, starts: op.starts.with(axis, start - offset) }, part);
    if (start <= offset && end <= start + size) taken.push(part);
    offset = end;
  }
  if (taken.reduce((sum, part) => sum + part.shape[axis]!, 0) !== size) return undefined;
  const others = op.sizes.every((n, d) => d === axis || (n === x.shape[d] && (op.steps[d] === 1 || n === 1)));
  return others ? make(x.op, ...taken) : undefined;
}

/** A slice of padding around a tensor is a slice of the tensor, less padded. */
function slicePad(node: NodeOf<"slice">, x: NodeOf<"pad">, { make, uses }: Rewriting): Node | undefined {
  const { before, after, value } = x.op;
  const source = operand(x);
  const { starts, sizes, steps } = node.op;
  const padded = (axis: number): boolean => before[axis]! > 0 || after[axis]! > 0;
  if (!sizes.every((_, axis) => steps[axis] === 1 || !padded(axis))) return undefined;
  // Where padding was, the slice in coordinates of the source; it may begin before it and end behind it.
  const ranges = source.shape.map((size, axis) => {
    if (!padded(axis)) return { start: starts[axis]!, size: sizes[axis]!, before: 0, after: 0 };
    const [from, to] = [starts[axis]! - before[axis]!, starts[axis]! - before[axis]! + sizes[axis]!];
    const [start, end] = [Math.min(Math.max(from, 0), size), Math.max(Math.min(to, size), 0)];
    return { start, size: end - start, before: start - from, after: to - end };
  });
  if (ranges.some(({ size }) => size <= 0))
    return make({ kind: "broadcast", shape: node.shape }, make(scalarOp(value, node.dtype)));
  // Where others need the padded tensor anyway, one slice of it is better than a slice and a pad.
  if (uses(x) > 1 && ranges.some((range) => range.before > 0 || range.after > 0)) return undefined;
  const part = make(
    { kind: "slice", starts: ranges.map((r) => r.start), sizes: ranges.map((r) => r.size), steps },
    source,
  );
  return make({ kind: "pad", before: ranges.map((r) => r.before), after: ranges.map((r) => r.after), value }, part);
}

/**
 * A slice of a slice that was reshaped in between is one slice, reshaped, if the reshape leaves the sliced axes alone:
 * one copy less. (An attention head's block of a part of qkv.)
 */
function sliceReshape(node: NodeOf<"slice">, x: NodeOf<"reshape">, rewriting: Rewriting): Node | undefined {
  const source = operand(x);
  if (!isOp(source, "slice") && !isOp(source, "concat") && !isOp(source, "pad")) return undefined;
  const op = sliceBefore(node.op, source.shape, x.shape);
  return op && reshaped(rewriting, rewriting.make(op, source), node.shape);
}

/** The slice of the tensor before a reshape that holds what a slice takes after it, if there is one. */
function sliceBefore(op: SliceOp, from: Shape, to: Shape): SliceOp | undefined {
  const starts = from.map(() => 0);
  const sizes = [...from];
  const steps = from.map(() => 1);
  for (const group of groupAxes(from, to) ?? []) {
    const cut = axesIn(group.to).filter((axis) => op.sizes[axis] !== to[axis]);
    if (cut.length === 0) continue;
    const [axis] = axesIn(group.from).filter((d) => from[d] !== 1);
    const kept = axesIn(group.to).filter((d) => to[d] !== 1);
    // One axis on either side, axes of size 1 apart.
    if (axis === undefined || from[axis] !== to[cut[0]!] || kept.length !== 1) return undefined;
    [starts[axis], sizes[axis], steps[axis]] = [op.starts[cut[0]!]!, op.sizes[cut[0]!]!, op.steps[cut[0]!]!];
  }
  return { kind: "slice", starts, sizes, steps };
}

/** The axes of a group. */
function axesIn([start, end]: readonly [number, number]): number[] {
  return Array.from({ length: end - start }, (_, i) => start + i);
}

function foldPad(node: NodeOf<"pad">, { make }: Rewriting): Node | undefined {
  const x = operand(node);
  const { before, after, value } = node.op;
  if ([...before, ...after].every((n) => n === 0)) return x;
  if (!isOp(x, "pad") || !Object.is(x.op.value, value)) return undefined;
  const plus = (a: Shape, b: Shape): Shape => a.map((n, axis) => n + b[axis]!);
  return make({ kind: "pad", before: plus(before, x.op.before), after: plus(after, x.op.after), value }, operand(x));
}

function foldConcat(node: NodeOf<"concat">, rewriting: Rewriting): Node | undefined {
  const { make, uses } = rewriting;
  const { axis } = node.op;
  const parts: Node[] = [];
  const offered = node.inputs.flatMap((x) =>
    isOp(x, "concat") && x.op.axis === axis && uses(x) === 1 ? x.inputs : [x],
  );
  for (const part of offered) {
    if (part.shape[axis] === 0 && node.shape[axis] !== 0) continue;
    const last = parts.at(-1);
    const joined = last && (joinSlices(last, part, axis, rewriting) ?? joinFills(last, part, axis, rewriting));
    if (joined) parts[parts.length - 1] = joined;
    else parts.push(part);
  }
  const [first, ...rest] = parts as [Node, ...Node[]];
  if (rest.length === 0) return first;
  return concatAsPad(node, parts, rewriting) ?? (sameNodes(parts, node.inputs) ? undefined : make(node.op, ...parts));
}

function sameNodes(a: readonly Node[], b: readonly Node[]): boolean {
  return a.length === b.length && a.every((node, i) => node === b[i]);
}

/** Two slices of one tensor, one where the other ends: the slice of both. */
function joinSlices(a: Node, b: Node, axis: number, { make }: Rewriting): Node | undefined {
  if (!isOp(a, "slice") || !isOp(b, "slice") || operand(a) !== operand(b)) return undefined;
  const [end, step] = [a.op.starts[axis]! + a.op.sizes[axis]! * a.op.steps[axis]!, a.op.steps[axis]!];
  const fits = a.op.starts.every((start, d) =>
    d === axis
      ? b.op.starts[d] === end && b.op.steps[d] === step
      : b.op.starts[d] === start && b.op.steps[d] === a.op.steps[d],
  );
  if (!fits) return undefined;
  return make({ ...a.op, sizes: a.op.sizes.with(axis, a.op.sizes[axis]! + b.op.sizes[axis]!) }, operand(a));
}

/** Two tensors filled with one number: one of both sizes. */
function joinFills(a: Node, b: Node, axis: number, { make }: Rewriting): Node | undefined {
  const value = filledValue(a);
  if (value === undefined || !Object.is(value, filledValue(b))) return undefined;
  return make({ kind: "broadcast", shape: a.shape.with(axis, a.shape[axis]! + b.shape[axis]!) }, operand(a));
}

/** One tensor between tensors that are filled with one number: a pad. */
function concatAsPad(node: NodeOf<"concat">, parts: readonly Node[], { make }: Rewriting): Node | undefined {
  const { axis } = node.op;
  const at = parts.findIndex((part) => filledValue(part) === undefined);
  const x = parts[at];
  const [value, ...others] = parts.flatMap((part, i) => (i === at ? [] : [filledValue(part)]));
  if (x === undefined || value === undefined || !others.every((other) => Object.is(other, value))) return undefined;
  const sizes = (list: readonly Node[]): number => list.reduce((sum, part) => sum + part.shape[axis]!, 0);
  const zeros = node.shape.map(() => 0);
  const before = zeros.with(axis, sizes(parts.slice(0, at)));
  const after = zeros.with(axis, sizes(parts.slice(at + 1)));
  return make({ kind: "pad", before, after, value }, x);
}

import { OrderedDict } from "./ordered-dict.js";

/** Deep enough for any data, shallow enough for a function that calls itself. */
const MAX_DEPTH = 500;

/** Values met when every path is walked. */
const MAX_TREE_VALUES = 10_000_000;

/**
 * Checks that a value can be walked as a tree: that it does not hold itself, is not nested too deep, and that a small
 * graph (a list of ten times the same list of ten times ...) is not a tree of billions. Whoever gets the value may then
 * write the plainest recursion.
 *
 * @param childrenOf The values that one of the caller's own objects holds.
 * @param fail Makes the error to throw.
 */
export function checkTree(
  root: unknown,
  childrenOf: (value: object) => Iterable<unknown>,
  fail: (problem: string) => Error,
): void {
  const sizes = new Map<object, number>(); // of finished values
  const open = new Set<object>();
  const path: { value: object; children: Iterator<unknown>; size: number }[] = [];
  const enter = (value: unknown): number => {
    if (typeof value !== "object" || value === null || value instanceof Uint8Array) return 1;
    const known = sizes.get(value);
    if (known !== undefined) return known;
    if (open.has(value)) throw fail("its pickle holds a value that contains itself");
    if (path.length === MAX_DEPTH) throw fail(`its pickle is nested more than ${MAX_DEPTH} levels deep`);
    open.add(value);
    path.push({ value, children: childrenIn(value, childrenOf)[Symbol.iterator](), size: 1 });
    return 0; // counted when it is left
  };
  enter(root);
  for (let frame = path.at(-1); frame; frame = path.at(-1)) {
    const next = frame.children.next();
    if (!next.done) frame.size += enter(next.value);
    else {
      path.pop();
      open.delete(frame.value);
      sizes.set(frame.value, frame.size);
      const parent = path.at(-1);
      if (parent) parent.size += frame.size;
    }
    if (frame.size > MAX_TREE_VALUES) throw fail(`its pickle is a tree of more than ${MAX_TREE_VALUES} values`);
  }
}

function* childrenIn(value: object, childrenOf: (value: object) => Iterable<unknown>): Generator<unknown> {
  if (Array.isArray(value) || value instanceof Set) yield* value as Iterable<unknown>;
  else if (value instanceof Map) {
    for (const [key, item] of value as Map<unknown, unknown>) {
      yield key;
      yield item;
    }
    if (value instanceof OrderedDict && value.attributes) yield value.attributes;
  } else yield* childrenOf(value);
}

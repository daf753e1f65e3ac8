import { isOp, type Graph, type Node, type NodeOf, type Op, type TensorData } from "../ir/graph.js";
import { replaceNodes } from "./rewrite.js";

/** Constants up to this many elements are compared by content; larger ones are the same if they share their data. */
const COMPARED_ELEMENTS = 2 ** 20;

/**
 * Nodes that compute the same thing become one: same operation, same attributes, same operands. The operands of
 * commutative functions count in any order, and `a < b` is `b > a`.
 */
export function eliminateCommonSubexpressions(graph: Graph): Graph {
  const known = new Map<string, Node>();
  const constants = new Map<string, NodeOf<"constant">[]>();
  return replaceNodes(graph, (node) => {
    if (isOp(node, "input")) return node;
    if (isOp(node, "constant")) {
      const key = constantKey(node);
      const bucket = constants.get(key);
      const same = bucket?.find((other) => sameConstant(node, other));
      if (bucket && !same) bucket.push(node);
      if (!bucket) constants.set(key, [node]);
      return same ?? node;
    }
    const key = keyOf(node);
    const same = known.get(key);
    if (!same) known.set(key, node);
    return same ?? node;
  });
}

const COMMUTATIVE: ReadonlySet<string> = new Set(["add", "mul", "max", "min", "and", "or", "equal", "notEqual"]);
const MIRRORED: Readonly<Record<string, string>> = { greater: "less", greaterEqual: "lessEqual" };

function keyOf({ op, inputs }: Node): string {
  const [a, b] = inputs;
  if ((op.kind === "binary" || op.kind === "compare") && a && b) {
    const mirrored = MIRRORED[op.fn];
    if (mirrored !== undefined) return `${op.kind},${mirrored},${b.id},${a.id}`;
    if (COMMUTATIVE.has(op.fn) && a.id > b.id) return `${op.kind},${op.fn},${b.id},${a.id}`;
    return `${op.kind},${op.fn},${a.id},${b.id}`;
  }
  let key = attributesOf(op);
  for (const { id } of inputs) key += `,${id}`;
  return key;
}

const attributes = new WeakMap<Op, string>();

/** Text that differs where kind or attributes differ. Kept: operations do not change. */
function attributesOf(op: Op): string {
  const known = attributes.get(op);
  if (known !== undefined) return known;
  // JSON has no -0, NaN or infinity.
  const number = op.kind === "pad" ? op.value : op.kind === "matmul" ? op.alpha : 0;
  const text = `${JSON.stringify(op)}${Object.is(number, -0) ? "-0" : number}`;
  attributes.set(op, text);
  return text;
}

function constantKey({ op, dtype }: NodeOf<"constant">): string {
  return `${dtype}(${op.shape.join()})${op.data.length <= COMPARED_ELEMENTS ? hashOf(op.data) : ""}`;
}

/** Whether two constants with the same key are the same. */
function sameConstant(a: NodeOf<"constant">, b: NodeOf<"constant">): boolean {
  const [x, y] = [a.op.data, b.op.data];
  return x === y || (x.length <= COMPARED_ELEMENTS && x.every((value, i) => Object.is(value, y[i])));
}

const hashes = new WeakMap<TensorData, number>();

/**
 * Bytes of a constant that its hash looks at: what differs elsewhere alone is told apart when contents are compared.
 */
const HASHED_BYTES = 2 ** 12;

/** A number that differs, almost always, where contents differ (FNV-1a by bytes). Kept: contents do not change. */
function hashOf(data: TensorData): number {
  const known = hashes.get(data);
  if (known !== undefined) return known;
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  const stride = Math.ceil(bytes.length / HASHED_BYTES) | 1; // odd: all bytes of an element get their turn
  let hash = 0x811c9dc5;
  for (let i = 0; i < bytes.length; i += stride) hash = Math.imul(hash ^ bytes[i]!, 0x01000193);
  hashes.set(data, hash);
  return hash;
}

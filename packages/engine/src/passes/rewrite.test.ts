import { nodesOf, type Node } from "../ir/graph.js";
import { makeNode } from "../ir/infer.js";
import { operand, isUnary } from "./nodes.js";
import { firstOf, rewrite, type Rule } from "./rewrite.js";
import * as t from "./testing.js";

/** -(-x) is x. */
const cancel: Rule = (node) =>
  isUnary(node, "neg") && isUnary(operand(node), "neg") ? operand(operand(node)) : undefined;

describe("rewrite()", () => {
  test("returns the graph itself when no rule applies", () => {
    const x = t.input("x", [2]);
    t.expectUntouched(t.graphOf(t.unary("neg", x)), (graph) => rewrite(graph, cancel));
  });

  test("replaces operands before their users and rebuilds only what they reach", () => {
    const x = t.input("x", [2]);
    const untouched = t.unary("exp", x);
    const graph = t.graphOf(t.add(t.unary("neg", t.unary("neg", x)), x), untouched);
    const result = t.expectRewritten(graph, (g) => rewrite(g, cancel), {
      from: ["add", "exp", "neg", "neg"],
      to: ["add", "exp"],
    });
    expect(result.outputs[1]!.node).toBe(untouched);
    expect(result.outputs[0]!.node.inputs).toEqual([x, x]);
  });

  test("keeps inputs that are no longer used, and drops every node that is not", () => {
    const [x, y] = [t.input("x", [2]), t.input("y", [2])];
    const graph = t.graphOf(t.add(x, t.mul(y, t.scalar(0))));
    const result = rewrite(graph, (node) =>
      node.op.kind === "binary" && node.op.fn === "add" ? node.inputs[0] : undefined,
    );
    expect(result.inputs).toEqual(graph.inputs);
    expect(nodesOf(result)).toEqual([x]);
  });

  test("applies the rule to what the rule makes", () => {
    const x = t.input("x", []);
    // x + n is (x + (n - 1)) + 0: four steps down from 4.
    const countDown: Rule = (node, { make }) => {
      const value = node.op.kind === "binary" ? (node.inputs[1]!.op as { data: Float32Array }).data[0]! : 0;
      if (value <= 0) return undefined;
      return make({ kind: "binary", fn: "add" }, node.inputs[0]!, t.scalar(value - 1));
    };
    const result = rewrite(t.graphOf(t.add(x, t.scalar(4))), countDown);
    expect((result.outputs[0]!.node.inputs[1]!.op as { data: Float32Array }).data[0]).toBe(0);
  });

  test("cuts rules that run in circles", () => {
    const x = t.input("x", [2]);
    const swap: Rule = (node, { make }) =>
      node.op.kind === "binary" ? make(node.op, node.inputs[1]!, node.inputs[0]!) : undefined;
    const graph = t.graphOf(t.add(x, t.unary("neg", x)));
    t.expectSameMeaning(graph, rewrite(graph, swap));
  });

  test("makes nodes in the scope of the node they replace, and keeps the scopes of nodes it rebuilds", () => {
    const x = t.input("x", [2]);
    const inner = makeNode({ kind: "unary", fn: "square" }, [x], "attention");
    const outer = makeNode({ kind: "unary", fn: "exp" }, [inner], "mlp");
    const rule: Rule = (node, { make }) =>
      isUnary(node, "square") ? make({ kind: "binary", fn: "mul" }, operand(node), operand(node)) : undefined;
    const result = rewrite(t.graphOf(outer), rule).outputs[0]!.node;
    expect([result.scope, operand(result).scope]).toEqual(["mlp", "attention"]);
  });

  test("counts uses in the graph as it has become", () => {
    const x = t.input("x", [2]);
    const shared = t.unary("exp", x);
    // Two of its users go away, one of them because nothing uses it any more, and a new one comes.
    const graph = t.graphOf(t.unary("sqrt", t.mul(t.unary("neg", shared), shared)), t.unary("tanh", shared));
    const seen: Record<string, number> = {};
    rewrite(graph, (node, { make, uses }) => {
      if (node.op.kind !== "unary") return undefined;
      seen[node.op.fn] = uses(shared);
      return node.op.fn === "sqrt" ? make({ kind: "unary", fn: "floor" }, shared) : undefined;
    });
    expect(seen).toEqual({ exp: 3, neg: 3, sqrt: 3, floor: 4, tanh: 2 });
  });

  test("counts an output as a use", () => {
    const x = t.unary("exp", t.input("x", [2]));
    let uses = 0;
    rewrite(t.graphOf(x, t.unary("neg", x)), (node, rewriting) => {
      if (isUnary(node, "neg")) uses = rewriting.uses(operand(node));
      return undefined;
    });
    expect(uses).toBe(2);
  });

  test("refuses a replacement of another shape or dtype", () => {
    const x = t.input("x", [2, 1]);
    const graph = t.graphOf(t.reshape(x, [2]));
    expect(() => rewrite(graph, (node: Node) => node.inputs[0])).toThrow(
      'Rewriting "reshape" changed float32(2) into float32(2, 1)',
    );
  });

  test("survives chains of a hundred thousand nodes", () => {
    let node = t.input("x", []);
    for (let i = 0; i < 100_000; i++) node = t.unary("neg", node);
    expect(t.operations(rewrite(t.graphOf(node), cancel))).toEqual([]);
  });
});

describe("firstOf()", () => {
  test("tries rules in order until one replaces the node", () => {
    const x = t.input("x", []);
    const calls: string[] = [];
    const rule =
      (name: string, result?: Node): Rule =>
      (node) => {
        if (node === x) return undefined;
        calls.push(name);
        return result;
      };
    const result = rewrite(t.graphOf(t.unary("neg", x)), firstOf(rule("a"), rule("b", x), rule("c", x)));
    expect(calls).toEqual(["a", "b"]);
    expect(result.outputs[0]!.node).toBe(x);
  });
});

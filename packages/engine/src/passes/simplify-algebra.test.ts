import type { Node } from "../ir/graph.js";
import { makeNode } from "../ir/infer.js";
import { interpret } from "../ir/interpret.js";
import { simplifyAlgebra } from "./simplify-algebra.js";
import * as t from "./testing.js";

const x = () => t.input("x", [4, 8]);
const y = () => t.input("y", [4, 8]);
const num = t.scalar;
const square = (node: Node) => t.unary("square", node);
const neg = (node: Node) => t.unary("neg", node);

/** Tolerance where numbers are multiplied with each other and rounded to float32. */
const ROUNDED = 1e-6;

function becomes(node: Node, to: readonly string[], tolerance?: number): Node {
  const graph = t.graphOf(node);
  return t.expectRewritten(graph, simplifyAlgebra, { from: t.operations(graph), to }, tolerance).outputs[0]!.node;
}

function stays(...nodes: readonly Node[]): void {
  t.expectUntouched(t.graphOf(...nodes), simplifyAlgebra);
}

describe("simplifyAlgebra(): numbers that change nothing", () => {
  test.each<[string, (x: Node) => Node]>([
    ["x + 0", (x) => t.add(x, num(0))],
    ["0 + x", (x) => t.add(num(0), x)],
    ["x - 0", (x) => t.sub(x, num(0))],
    ["x · 1", (x) => t.mul(x, num(1))],
    ["1 · x", (x) => t.mul(num(1), x)],
    ["x / 1", (x) => t.div(x, num(1))],
    ["x ** 1", (x) => t.binary("pow", x, num(1))],
    ["-(-x)", (x) => neg(neg(x))],
    ["(x · -1) / -1", (x) => t.div(t.mul(x, num(-1)), num(-1))],
    ["max(x, x)", (x) => t.binary("max", x, x)],
    ["float(x)", (x) => t.cast(x, "float32")],
  ])("%s is x", (_, of) => {
    becomes(of(x()), []);
  });

  test("are told apart by dtype", () => {
    const n = t.input("n", [3], "int32");
    const one = num(1, "int32");
    becomes(t.div(t.add(t.mul(n, one), num(0, "int32")), one), []);
    becomes(t.binary("floorDiv", n, one), []);
    stays(
      t.div(n, num(2, "int32")),
      t.binary("floorDiv", x(), num(1)),
      t.div(t.mul(n, num(4, "int32")), num(2, "int32")),
    );
  });

  test("hold for conditions too", () => {
    const b = t.input("b", [4, 8], "bool");
    const yes = t.scalar(1, "bool");
    const no = t.scalar(0, "bool");
    becomes(t.unary("not", t.unary("not", b)), []);
    const [m, n] = [t.input("m", [3], "int32"), t.input("n", [3], "int32")];
    const equal = (fn: "equal" | "notEqual") => makeNode({ kind: "compare", fn }, [m, n]);
    becomes(t.unary("not", equal("equal")), ["notEqual"]);
    becomes(t.unary("not", equal("notEqual")), ["equal"]);
    stays(t.unary("not", t.less(m, n))); // NaN is neither less nor not
    becomes(t.binary("and", b, yes), []);
    becomes(t.binary("or", no, b), []);
    becomes(t.binary("or", b, b), []);
    becomes(t.select(yes, x(), y()), []);
    becomes(t.select(no, x(), t.input("z", [8])), ["broadcast"]);
    becomes(t.select(b, t.unary("exp", x()), t.unary("exp", x())), ["exp", "exp", "select"]);
    const same = t.unary("exp", x());
    becomes(t.select(b, same, same), ["exp"]);
    becomes(t.select(t.unary("not", b), x(), y()), ["select"]);
    stays(t.select(b, x(), y()), t.binary("and", b, no));
  });

  test("do not include zero in a product: NaN stays NaN", () => {
    stays(t.mul(x(), num(0)), t.div(num(0), x()), t.sub(num(1), x()), t.sub(x(), x()));
    const graph = t.graphOf(t.mul(t.input("x", [1]), num(0)));
    expect(interpret(simplifyAlgebra(graph), { x: [NaN] })["y0"]).toEqual(Float64Array.of(NaN));
  });
});

describe("simplifyAlgebra(): signs", () => {
  test("go into sums and differences", () => {
    becomes(t.add(x(), neg(y())), ["sub"]);
    becomes(t.add(neg(x()), y()), ["sub"]);
    becomes(t.sub(x(), neg(y())), ["add"]);
    becomes(t.sub(num(0), x()), ["neg"]);
    becomes(neg(t.sub(x(), y())), ["sub"]);
    const difference = t.sub(x(), y());
    stays(neg(difference), difference);
  });

  test("vanish in squares and absolute values", () => {
    becomes(square(neg(x())), ["square"]);
    becomes(square(t.unary("abs", x())), ["square"]);
    becomes(t.unary("abs", neg(x())), ["abs"]);
    becomes(t.unary("abs", square(x())), ["square"]);
    becomes(t.unary("sqrt", square(x())), ["abs"]);
    expect(becomes(square(t.mul(x(), num(3))), ["square", "mul"]).op).toMatchObject({ fn: "mul" });
    const scaled = t.mul(x(), num(3));
    stays(square(scaled), scaled);
  });

  test("leave products and quotients, and meet others there", () => {
    becomes(t.mul(neg(x()), neg(y())), ["mul"]);
    becomes(t.add(t.input("z", [4, 8]), t.div(neg(x()), y())), ["div", "sub"]);
    becomes(t.sub(t.input("z", [4, 8]), t.div(x(), neg(y()))), ["div", "add"]);
    becomes(t.add(t.input("z", [4, 8]), t.mul(neg(x()), y())), ["mul", "sub"]);
    becomes(t.matmul(neg(x()), y(), { transposeB: true }), ["matmul"]);
  });
});

describe("simplifyAlgebra(): numbers", () => {
  test("are multiplied with each other first", () => {
    becomes(t.mul(t.mul(x(), num(3)), num(0.1)), ["mul"], ROUNDED);
    becomes(t.div(t.mul(x(), num(3)), num(7)), ["mul"], ROUNDED);
    becomes(t.mul(t.div(x(), num(3)), num(6)), ["mul"], ROUNDED);
    becomes(neg(t.mul(x(), num(3))), ["mul"]);
    becomes(t.mul(t.mul(t.input("n", [3], "int32"), num(3, "int32")), num(5, "int32")), ["mul"]);
  });

  test("unless their product leaves the range of float32", () => {
    stays(t.mul(t.mul(x(), num(1e30)), num(1e30)), t.mul(t.mul(x(), num(1e-30)), num(1e-30)));
    stays(t.matmul(t.mul(x(), num(1e-30)), y(), { transposeB: true, alpha: 1e-30 }));
  });

  test("divide as factors only where that is exact", () => {
    becomes(t.div(x(), num(8)), ["mul"]);
    stays(t.div(x(), num(3)), t.div(x(), num(0)), t.div(x(), num(2 ** -127)));
  });

  test("become a matmul's alpha", () => {
    const [a, b] = [t.input("a", [4, 8]), t.input("b", [8, 2])];
    const product = () => t.matmul(a, b, { alpha: 0.5 });
    expect(becomes(t.mul(product(), num(0.25)), ["matmul"]).op).toMatchObject({ alpha: 0.125 });
    expect(becomes(t.div(product(), num(3)), ["matmul"], ROUNDED).op).toMatchObject({ alpha: Math.fround(0.5 / 3) });
    becomes(t.mul(t.transpose(t.reshape(product(), [2, 4]), [1, 0]), num(2)), ["matmul", "reshape", "transpose"]);
    becomes(neg(product()), ["matmul"]);
    // Of an operand: also where others use the scaled operand, which then stays for them.
    const scaled = t.mul(a, num(4));
    becomes(t.matmul(t.reshape(t.mul(t.input("d", [2, 2, 8]), num(4)), [4, 8]), neg(b)), ["reshape", "matmul"]);
    t.expectRewritten(t.graphOf(t.matmul(scaled, b), t.unary("exp", scaled)), simplifyAlgebra, {
      from: ["mul", "matmul", "exp"],
      to: ["mul", "matmul", "exp"],
    });
    const shared = product();
    stays(t.mul(shared, num(2)), shared);
    const withAddend = (b: Node, c: Node) => makeNode(shared.op, [a, b, c]);
    stays(t.mul(withAddend(b, t.input("c", [2])), num(2)));
    becomes(withAddend(neg(b), neg(t.input("c", [2]))), ["matmul", "neg"]);
  });

  test("go to the small operand of a product", () => {
    const column = t.input("column", [4, 1]);
    const scaled = becomes(t.mul(t.mul(x(), num(3)), column), ["mul", "mul"]);
    expect(scaled.inputs.map(({ shape }) => shape)).toEqual([
      [4, 8],
      [4, 1],
    ]);
    becomes(t.mul(t.mul(x(), column), num(3)), ["mul", "mul"]);
    expect(becomes(t.mul(num(3), t.mul(column, x())), ["mul", "mul"]).inputs[0]!.shape).toEqual([4, 1]);
    expect(becomes(t.mul(t.div(column, x()), num(3)), ["mul", "div"]).op).toMatchObject({ fn: "div" });
    const shared = t.mul(x(), column);
    stays(t.mul(shared, num(3)), shared);
    stays(
      t.mul(t.div(x(), column), num(3)),
      t.mul(t.mul(x(), column), num(0)),
      t.mul(t.mul(x(), column), num(Infinity)),
    );
    const [n, m] = [t.input("n", [4, 1], "int32"), t.input("m", [4, 8], "int32")];
    stays(t.mul(t.div(n, m), num(3, "int32")));
    expect(becomes(t.mul(t.mul(m, n), num(3, "int32")), ["mul", "mul"]).inputs[1]!.shape).toEqual([4, 1]);
    expect(becomes(t.mul(t.mul(x(), column), num(3)), ["mul", "mul"]).inputs[1]!.shape).toEqual([4, 1]);
  });

  test("otherwise leave a product, for what comes after it", () => {
    expect(becomes(t.mul(t.mul(x(), num(3)), y()), ["mul", "mul"]).inputs[1]!.shape).toEqual([]);
    becomes(t.reduce("sum", t.mul(t.mul(x(), num(3)), y()), [1]), ["mul", "reduce.sum", "mul"]);
    becomes(t.div(x(), t.mul(y(), num(2))), ["div", "mul"]);
    stays(t.div(x(), t.mul(y(), num(3))));
  });
});

describe("simplifyAlgebra(): small tensors", () => {
  test("are multiplied with each other before a large one", () => {
    const [a, b] = [t.input("a", [4, 1]), t.input("b", [])];
    const product = becomes(t.mul(t.mul(a, x()), b), ["mul", "mul"]);
    expect(product.inputs.map(({ shape }) => shape)).toEqual([
      [4, 8],
      [4, 1],
    ]);
    expect(becomes(t.mul(b, t.mul(x(), a)), ["mul", "mul"]).inputs.map(({ shape }) => shape)).toEqual([
      [4, 8],
      [4, 1],
    ]);
    // Their own product would be large, or none of them is.
    stays(t.mul(t.mul(t.input("row", [8]), a), b), t.mul(t.mul(x(), y()), b), t.mul(t.mul(x(), a), y()));
    stays(t.mul(t.mul(x(), a), t.input("row", [8])));
    const shared = t.mul(x(), a);
    stays(t.mul(shared, b), shared);
  });

  test("leave a sum along which they are the same", () => {
    const [column, row] = [t.input("column", [4, 1]), t.input("row", [8])];
    for (const keepDims of [true, false]) {
      const sum = becomes(t.reduce("sum", t.mul(x(), column), [1], keepDims), [
        "reduce.sum",
        ...(keepDims ? [] : ["reshape"]),
        "mul",
      ]);
      expect(sum.op).toMatchObject({ fn: "mul" });
      becomes(t.reduce("mean", t.div(x(), column), [1], keepDims), [
        "reduce.mean",
        ...(keepDims ? [] : ["reshape"]),
        "div",
      ]);
    }
    becomes(t.reduce("sum", t.mul(row, x()), [0]), ["reduce.sum", "mul"]);
    stays(
      t.reduce("sum", t.mul(x(), row), [1]),
      t.reduce("sum", t.div(column, x()), [1]),
      t.reduce("max", t.mul(x(), column), [1]),
      t.reduce("sum", t.mul(x(), column), [0, 1]),
    );
  });
});

describe("simplifyAlgebra(): powers", () => {
  test.each<[number, readonly string[]]>([
    [0, ["broadcast"]],
    [2, ["square"]],
    [3, ["square", "mul"]],
    [-1, ["reciprocal"]],
  ])("x ** %d is cheaper", (exponent, to) => {
    becomes(t.binary("pow", x(), num(exponent)), to);
  });

  test.each<[number, readonly string[]]>([
    [0.5, ["sqrt"]],
    [-0.5, ["rsqrt"]],
    [1.5, ["mul", "sqrt"]],
  ])("(x²) ** %d is made of roots", (exponent, to) => {
    const positive = t.add(square(x()), num(1));
    becomes(t.binary("pow", positive, num(exponent)), ["square", "add", ...to]);
  });

  test("of whole numbers are squares or stay", () => {
    const n = t.input("n", [3], "int32");
    becomes(t.binary("pow", n, num(2, "int32")), ["square"]);
    stays(t.binary("pow", n, num(3, "int32")), t.binary("pow", x(), num(2.5)), t.binary("pow", x(), y()));
  });

  test("hide in products and quotients", () => {
    const a = x();
    becomes(t.mul(a, a), ["square"]);
    becomes(t.div(num(1), a), ["reciprocal"]);
    becomes(t.mul(y(), t.unary("reciprocal", a)), ["div"]);
    becomes(t.unary("reciprocal", t.unary("sqrt", square(t.add(a, num(3))))), ["add", "abs", "reciprocal"]);
    becomes(t.unary("reciprocal", t.unary("sqrt", t.unary("exp", a))), ["exp", "rsqrt"]);
    const inverse = t.unary("reciprocal", t.input("column", [4, 1]));
    stays(t.mul(a, inverse)); // dividing would take longer than multiplying
  });
});

describe("simplifyAlgebra(): reductions", () => {
  test("numbers leave sums and means", () => {
    becomes(t.reduce("sum", t.mul(x(), num(3)), [0]), ["reduce.sum", "mul"]);
    becomes(t.reduce("mean", neg(x()), [0]), ["reduce.mean", "neg"]);
    becomes(t.reduce("sumSquare", t.mul(x(), num(3)), [0]), ["reduce.sumSquare", "mul"]);
    stays(t.reduce("max", t.mul(x(), num(3)), [0]), t.reduce("sumSquare", t.mul(x(), num(1e30)), [0]));
    const scaled = t.mul(x(), num(3));
    stays(t.reduce("sum", scaled, [0]), scaled);
  });

  test("a sum divided by its count is a mean", () => {
    becomes(t.div(t.reduce("sum", x(), [1]), num(8)), ["reduce.mean"]);
    becomes(t.mul(t.reduce("sum", t.input("z", [3, 2]), [0]), num(1 / 3)), ["reduce.mean"], ROUNDED);
    becomes(t.div(t.reduce("sum", x(), [1]), num(4)), ["reduce.sum", "mul"]);
    const sum = t.reduce("sum", x(), [1]);
    becomes(t.add(t.div(sum, num(8)), sum), ["reduce.sum", "mul", "add"]);
  });

  test("squares are summed on the way, where all elements are", () => {
    becomes(t.reduce("sum", square(x()), [0, 1]), ["reduce.sumSquare"]);
    becomes(t.reduce("mean", square(x()), [0, 1]), ["reduce.sumSquare", "mul"]);
    becomes(t.reduce("sum", square(t.input("z", [1, 8])), [1]), ["reduce.sumSquare"]);
    stays(t.reduce("sum", square(x()), [1]), t.reduce("max", square(x()), [0, 1]));
    const squares = square(x());
    stays(t.reduce("sum", squares, [0, 1]), squares);
  });
});

describe("simplifyAlgebra(): gradients", () => {
  test("a factor of both terms is taken out", () => {
    const [a, b, c] = [x(), y(), t.input("c", [4, 1])];
    becomes(t.add(t.mul(a, c), t.mul(c, b)), ["add", "mul"]);
    becomes(t.sub(t.mul(a, b), t.mul(c, a)), ["sub", "mul"]);
    stays(t.add(t.mul(a, num(3)), t.mul(b, num(3)))); // equal, but not the same node
    stays(t.add(t.mul(a, c), t.unary("exp", a)), t.add(t.unary("exp", c), t.mul(a, c)));
    const shared = t.mul(a, c);
    stays(t.add(shared, t.mul(c, b)), shared);
    stays(t.add(t.mul(a, t.input("d", [4, 1])), t.mul(c, b)));
  });

  test("the gradient of x · sigmoid(x) uses x · sigmoid(x)", () => {
    const [a, dy] = [x(), y()];
    const s = t.unary("sigmoid", a);
    const forward = t.mul(a, s);
    const slope = t.mul(s, t.sub(num(1), s));
    for (const gradient of [
      t.add(t.mul(dy, s), t.mul(t.mul(dy, a), slope)),
      t.add(t.mul(slope, t.mul(a, dy)), t.mul(s, dy)),
    ]) {
      const result = t.expectRewritten(t.graphOf(forward, gradient), simplifyAlgebra, {
        from: ["sigmoid", "mul", "sub", "mul", "mul", "mul", "mul", "add"],
        to: ["sigmoid", "mul", "sub", "mul", "mul", "mul", "add"], // one of these products is the forward pass' own
      });
      expect(result.outputs[1]!.node.inputs).toContain(dy);
    }
  });

  test("what only looks like the gradient of x · sigmoid(x) stays", () => {
    const [a, dy] = [x(), y()];
    const s = t.unary("sigmoid", a);
    const one = (of: Node) => t.sub(num(1), of);
    const direct = () => t.mul(dy, s);
    const inner = () => t.mul(t.mul(dy, a), t.mul(s, one(s)));
    stays(
      t.add(direct(), t.mul(t.mul(dy, a), t.mul(s, one(t.unary("sigmoid", dy))))),
      t.add(direct(), t.mul(t.mul(dy, a), t.mul(s, t.sub(num(2), s)))),
      t.add(direct(), t.mul(t.mul(dy, a), t.mul(t.unary("exp", a), one(s)))),
      t.add(direct(), t.mul(t.mul(dy, t.unary("exp", a)), t.mul(s, one(s)))),
      t.add(direct(), t.mul(t.mul(t.unary("exp", dy), a), t.mul(s, one(s)))),
      t.add(t.mul(dy, t.unary("tanh", a)), inner()),
      t.add(direct(), t.unary("exp", inner())),
    );
    for (const share of [
      (terms: Node) => terms.inputs[0]!,
      (terms: Node) => terms.inputs[1]!,
      (terms: Node) => terms.inputs[1]!.inputs[0]!,
      (terms: Node) => terms.inputs[1]!.inputs[1]!,
    ]) {
      const terms = t.add(direct(), inner());
      stays(terms, share(terms));
    }
  });

  test("x · sigmoid(x) is silu(x), if the sigmoid serves nothing else", () => {
    const a = x();
    becomes(t.mul(t.unary("sigmoid", a), a), ["silu"]);
    becomes(t.mul(a, t.unary("sigmoid", a)), ["silu"]);
    const s = t.unary("sigmoid", a);
    stays(t.mul(a, s), s);
    stays(t.mul(y(), t.unary("sigmoid", a)));
  });

  test("a cast of a cast of a condition is one cast", () => {
    const b = t.input("b", [3], "bool");
    becomes(t.cast(t.cast(b, "int32"), "float32"), ["cast"]);
    stays(t.cast(t.cast(t.input("n", [3]), "int32"), "float32"));
  });
});

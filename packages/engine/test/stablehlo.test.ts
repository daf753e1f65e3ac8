import { type Graph, type Node, type NodeOf, type Op, type TensorData } from "../src/ir/graph.js";
import { makeNode, type TensorType } from "../src/ir/infer.js";
import { lowerToStableHlo } from "../src/xla/index.js";
import { graphOf, SAMPLES, type Computed } from "./samples.js";

const input = (name: string, shape: readonly number[], dtype: TensorType["dtype"] = "float32"): NodeOf<"input"> =>
  makeNode({ kind: "input", name, dtype, shape }) as NodeOf<"input">;
const constant = (data: TensorData, shape: readonly number[] = [data.length]): Node => {
  const dtype = data instanceof Float32Array ? "float32" : data instanceof Int32Array ? "int32" : "bool";
  return makeNode({ kind: "constant", dtype, shape, data });
};
const graphWith = (inputs: readonly NodeOf<"input">[], ...nodes: readonly Node[]): Graph => ({
  name: "test",
  inputs,
  outputs: nodes.map((node, i) => ({ name: `y${i}`, node })),
});
const textOf = (graph: Graph, precision: "float32" | "tf32" | "bf16" = "float32"): string =>
  lowerToStableHlo(graph, { precision }).text;
const matmul: Op = { kind: "matmul", transposeA: false, transposeB: true, alpha: 1 };

/** The type of a tensor as StableHLO writes it. */
const typeOf = ({ dtype, shape }: TensorType): string =>
  `tensor<${[...shape, { float32: "f32", int32: "i32", bool: "i1" }[dtype]].join("x")}>`;

describe("lowerToStableHlo()", () => {
  test("writes a module of one function", () => {
    const [w, x] = [input("state/w", [2, 3]), input("inputs/x", [4, 3])];
    const product = makeNode(matmul, [x, w], "layer/MatMul");
    const sum = makeNode({ kind: "reduce", fn: "sum", axes: [0], keepDims: false }, [product], "loss");
    const next = makeNode({ kind: "binary", fn: "sub" }, [w, makeNode({ kind: "constant", dtype: "float32", shape: [], data: Float32Array.of(0.1) })]); // prettier-ignore
    const graph = { ...graphWith([w, x], next, sum), name: "a step" };
    expect(lowerToStableHlo(graph, { precision: "tf32", donated: new Map([[0, 0]]) }).text).toBe(
      `#loc1 = loc("state/w")
#loc2 = loc("inputs/x")
#loc3 = loc("layer/MatMul")
#loc4 = loc("loss")
module @a_step {
  func.func public @main(%arg0: tensor<2x3xf32> {tf.aliasing_output = 0 : i32} loc(#loc1), %arg1: tensor<4x3xf32> loc(#loc2)) -> (tensor<2x3xf32>, tensor<2xf32>) {
    %0 = "stablehlo.dot_general"(%arg1, %arg0) {dot_dimension_numbers = #stablehlo.dot<lhs_contracting_dimensions = [1], rhs_contracting_dimensions = [1]>, precision_config = [#stablehlo<precision DEFAULT>, #stablehlo<precision DEFAULT>]} : (tensor<4x3xf32>, tensor<2x3xf32>) -> tensor<4x2xf32> loc(#loc3)
    %1 = "stablehlo.constant"() {value = dense<0.0e+0> : tensor<f32>} : () -> tensor<f32> loc(#loc4)
    %2 = "stablehlo.reduce"(%0, %1) ({ ^bb0(%a: tensor<f32>, %b: tensor<f32>): %c = "stablehlo.add"(%a, %b) : (tensor<f32>, tensor<f32>) -> tensor<f32> "stablehlo.return"(%c) : (tensor<f32>) -> () }) {dimensions = array<i64: 0>} : (tensor<4x2xf32>, tensor<f32>) -> tensor<2xf32> loc(#loc4)
    %3 = "stablehlo.constant"() {value = dense<1.0000000149011612e-1> : tensor<f32>} : () -> tensor<f32>
    %4 = "stablehlo.broadcast_in_dim"(%3) {broadcast_dimensions = array<i64>} : (tensor<f32>) -> tensor<2x3xf32>
    %5 = "stablehlo.subtract"(%arg0, %4) : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>
    "func.return"(%5, %2) : (tensor<2x3xf32>, tensor<2xf32>) -> ()
  }
}
`,
    );
  });

  test.each(Object.keys(SAMPLES) as Computed[])("gives each result of %s the type that the graph has", (kind) => {
    const { graph } = graphOf(SAMPLES[kind]());
    const [, types] = /"func\.return"\(.*\) : \((.*)\) -> \(\)\n/.exec(textOf(graph)) ?? [];
    expect(types?.split(", ")).toEqual(graph.outputs.map(({ node }) => typeOf(node)));
  });

  test("names every value once, before it is used", () => {
    for (const kind of Object.keys(SAMPLES) as Computed[]) {
      const { graph } = graphOf(SAMPLES[kind]());
      const known = new Set(graph.inputs.map((_, i) => `%arg${i}`));
      for (const line of textOf(graph, "bf16").split("\n")) {
        const [, result, operands = ""] = /^ {4}(?:(%\d+)(?::\d+)? = )?"[\w.]+"\(([^)]*)\)/.exec(line) ?? [];
        for (const operand of operands.split(", ").filter(Boolean)) expect(known).toContain(operand.replace(/#0$/, ""));
        if (result === undefined) continue;
        expect(known).not.toContain(result);
        known.add(result);
      }
    }
  });

  test("writes numbers with all their digits, and what is none as bits", () => {
    const numbers = [0, -0, 1, -2.5, 0.1, 3.4028234663852886e38, 1e-45, NaN, Infinity, -Infinity];
    const nodes = numbers.map((x) => constant(Float32Array.of(x), []));
    const found = [...textOf(graphWith([], ...nodes)).matchAll(/dense<([^>]*)> : tensor<f32>}/g)].map(
      ([, text]) => text,
    );
    expect(found).toEqual([
      "0.0e+0",
      "-0.0e+0",
      "1.0e+0",
      "-2.5e+0",
      "1.0000000149011612e-1",
      "3.4028234663852886e+38",
      "1.401298464324817e-45",
      "0x7FC00000",
      "0x7F800000",
      "0xFF800000",
    ]);
  });

  test("writes tensors as their bytes, those of one value as that, and bools as numbers", () => {
    const nodes = [
      constant(Float32Array.of(1, -2)),
      constant(Int32Array.of(1, -2, 3)),
      constant(Float32Array.of(0, -0)), // not one value
      constant(new Int32Array(6).fill(7), [2, 3]),
      constant(new Float32Array(0), [0, 2]),
      constant(Uint8Array.of(1, 0, 1)),
      constant(Uint8Array.of(1, 1)),
    ];
    const found = [...textOf(graphWith([], ...nodes)).matchAll(/dense<(.*)> : (tensor<[^>]*>)}/g)];
    expect(found.map(([, text, type]) => [text, type])).toEqual([
      ['"0x0000803F000000C0"', "tensor<2xf32>"],
      ['"0x01000000FEFFFFFF03000000"', "tensor<3xi32>"],
      ['"0x0000000000000080"', "tensor<2xf32>"],
      ["7", "tensor<2x3xi32>"],
      ["", "tensor<0x2xf32>"],
      ['"0x010001"', "tensor<3xi8>"],
      ["0", "tensor<3xi8>"], // what those are compared with
      ["true", "tensor<2xi1>"],
    ]);
  });

  test("makes parameters of constants that are larger than asked for", () => {
    const x = input("x", [4]);
    const [small, large] = [constant(Float32Array.of(1, 2, 3, 4)), constant(Float32Array.of(1, 2, 3, 4, 5))];
    const sum = makeNode({ kind: "binary", fn: "add" }, [x, small]);
    const graph = graphWith([x], sum, large);
    const { text, constants } = lowerToStableHlo(graph, { precision: "float32", inlineBytes: 16 });
    expect(constants).toEqual([large.op]);
    expect(text).toContain("@main(%arg0: tensor<4xf32> loc(#loc1), %arg1: tensor<5xf32>)");
    expect(text).toContain('"func.return"(%1, %arg1)');
    expect(lowerToStableHlo(graph, { precision: "float32" }).constants).toEqual([]);
  });

  test("quotes what scopes are called", () => {
    const x = input('a "b"\\\n', [1]);
    const text = textOf({ ...graphWith([x], makeNode({ kind: "unary", fn: "exp" }, [x], "é/]) loc")), name: "7 é" });
    expect(text.split("\n").slice(0, 3)).toEqual([
      '#loc1 = loc("a \\22b\\22\\5C\\0A")',
      '#loc2 = loc("\\C3\\A9/]) loc")',
      "module @_7__ {",
    ]);
  });

  test("writes a barrier as one of all its operands, of which the first goes on", () => {
    const [x, dy] = [input("x", [2]), input("dy", [3], "int32")];
    const later = makeNode({ kind: "barrier" }, [x, dy]);
    const text = textOf(graphWith([x, dy], makeNode({ kind: "unary", fn: "exp" }, [later])));
    const types = "(tensor<2xf32>, tensor<3xi32>)";
    expect(text).toContain(`%0:2 = "stablehlo.optimization_barrier"(%arg0, %arg1) : ${types} -> ${types}`);
    expect(text).toContain('"stablehlo.exponential"(%0#0) : (tensor<2xf32>)');
  });

  test("writes a number and a rounding once, however often they are used", () => {
    const x = input("x", [2, 2]);
    const twice = ([1, 2] as const).map(() => makeNode({ kind: "unary", fn: "relu" }, [x]));
    const squares = ([1, 2] as const).map(() => makeNode(matmul, [x, x]));
    const text = textOf(graphWith([x], ...twice, ...squares), "bf16");
    expect(text.match(/stablehlo\.constant/g)).toHaveLength(1);
    expect(text.match(/stablehlo\.convert/g)).toHaveLength(1);
  });
});

describe("precision", () => {
  const x = input("x", [1, 4, 4, 2]);
  const w = input("w", [3, 3, 2, 5]);
  const window = { size: [3, 3], strides: [1, 1], dilations: [1, 1], pads: [1, 1, 1, 1] } as const;
  const convolution = makeNode({ kind: "conv2d", window, groups: 1 }, [x, w]);
  const [a, b] = [input("a", [3, 4]), input("b", [5, 4])];
  const product = makeNode(matmul, [a, b]);

  test("float32 multiplies all digits, tf32 those the device likes", () => {
    const graph = graphWith([x, w, a, b], convolution, product);
    const asked = (precision: "float32" | "tf32"): string[] | null =>
      textOf(graph, precision).match(/HIGHEST|DEFAULT/g);
    expect(asked("float32")).toEqual(new Array(4).fill("HIGHEST"));
    expect(asked("tf32")).toEqual(new Array(4).fill("DEFAULT"));
    expect(textOf(graph, "tf32")).not.toContain("bf16");
  });

  test("bf16 rounds operands of products and convolutions, whose results are float32", () => {
    const text = textOf(graphWith([x, w, a, b], convolution, product), "bf16");
    expect(text).toMatch(/convolution.*\(tensor<1x4x4x2xbf16>, tensor<3x3x2x5xbf16>\) -> tensor<1x4x4x5xf32>/);
    expect(text).toMatch(/dot_general.*\(tensor<3x4xbf16>, tensor<5x4xbf16>\) -> tensor<3x5xf32>/);
  });

  test("bf16 rounds nothing but products", () => {
    const products = new Set<string>([
      ...["matmul", "conv2d", "conv2dInputGrad", "conv2dFilterGrad"],
      ...["attention", "attentionGrad"],
    ]);
    for (const kind of Object.keys(SAMPLES) as Computed[]) {
      const text = textOf(graphOf(SAMPLES[kind]()).graph, "bf16");
      expect([kind, text.includes("bf16")]).toEqual([kind, products.has(kind)]);
      if (!products.has(kind)) expect(text).not.toContain("DEFAULT");
    }
  });

  test.each(["bf16", "tf32"] as const)("%s leaves thin products alone, and what was made in float32", (precision) => {
    const thin = [
      makeNode(matmul, [input("x", [3, 1]), input("y", [5, 1])]), // an outer product
      makeNode(matmul, [input("x", [1, 4]), input("y", [5, 4])]),
      makeNode(matmul, [input("x", [3, 4]), input("y", [1, 4])]),
    ];
    const kept = makeNode(matmul, [a, b], "norm/float32/MatMul");
    for (const node of [...thin, kept]) {
      const inputs = node.inputs as readonly NodeOf<"input">[];
      expect(textOf(graphWith(inputs, node), precision)).toBe(textOf(graphWith(inputs, node), "float32"));
    }
    const similar = makeNode(matmul, [a, b], "norm/float32s/MatMul");
    expect(textOf(graphWith([a, b], similar), precision)).not.toContain("HIGHEST");
  });
});

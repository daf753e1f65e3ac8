import { formatType, infer } from "../src/ir/infer.js";
import { runInterpreter, runLowered } from "./oracle.js";
import { graphOf, SAMPLES, TOLERANCES, type Computed, type Sample } from "./samples.js";
import { mismatch, TOLERANCE } from "./tolerance.js";

describe("every operation of a graph means in ONNX what it means in the interpreter", () => {
  const kinds = Object.keys(SAMPLES) as Computed[];
  test.each(kinds)("%s", async (kind) => {
    const samples = SAMPLES[kind]() as readonly Sample<Computed>[];
    const { graph, inputs } = graphOf(samples);
    const expected = await runInterpreter(graph, inputs, "float32");
    const failures: string[] = [];
    for (const target of ["onnxruntime", "standard"] as const) {
      const results = await runLowered(graph, target, inputs);
      samples.forEach(([op, ...operands], i) => {
        const { shape } = infer(op, operands);
        const found = mismatch(
          results.get(String(i))!,
          expected.get(String(i))!,
          TOLERANCES[kind] ?? TOLERANCE.exact,
          shape,
        );
        if (found)
          failures.push(`${target}: ${JSON.stringify(op)} of ${operands.map(formatType).join(", ")}: ${found}`);
      });
    }
    expect(failures).toEqual([]);
  });
});

import { clipFactor, globalNorm } from "./clip.js";
import { draw, expectClose, runOnce, TOLERANCE } from "./testing.js";

describe("clipping", () => {
  const [a, b] = [draw("a", 3, 4), draw("b", 5)];
  const norm = Math.hypot(...a.data, ...b.data);

  test.each([
    ["scales a norm above the limit to it", norm / 3, 1 / 3],
    ["leaves a norm below the limit", 2 * norm, 1],
  ])("%s", async (_, limit, expected) => {
    const outputs = await runOnce({ a, b }, ({ a, b }) => {
      const norm = globalNorm([a, b]);
      return { norm, factor: clipFactor(norm, limit) };
    });
    expectClose(outputs.norm, [norm], TOLERANCE.sums);
    expectClose(outputs.factor, [expected], TOLERANCE.sums);
  });

  test("leaves gradients of zero, and divides by the norm and a millionth", async () => {
    const tinyNorm = { shape: [1], data: Float32Array.of(1e-6) };
    const zero = { shape: [1], data: new Float32Array(1) };
    const outputs = await runOnce({ tinyNorm, zero }, ({ tinyNorm, zero }) => ({
      zero: clipFactor(globalNorm([zero]), 1),
      tiny: clipFactor(globalNorm([tinyNorm]), 1e-6),
    }));
    expectClose(outputs.zero, [1], 0);
    expectClose(outputs.tiny, [0.5], TOLERANCE.elementwise);
  });
});

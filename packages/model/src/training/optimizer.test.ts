import type * as tf from "@tensorflow/tfjs-core";
import { draw, expectClose, runOnce, TOLERANCE } from "../testing.js";
import { adamw, clipFactor, globalNorm, OptimizerConfig, STEP_SCALARS, stepScalars } from "./optimizer.js";

const optimizer = OptimizerConfig.parse({ beta1: 0.8, beta2: 0.9, eps: 1e-3, weightDecay: 0.3 });
const [RATE, DECAY] = [0.05, 0.9];

test("OptimizerConfig has the reference's defaults", () => {
  expect(OptimizerConfig.parse({})).toEqual({ beta1: 0.9, beta2: 0.95, eps: 1e-8, weightDecay: 0.05, maxGradNorm: 1 });
  for (const wrong of [{ beta1: 1 }, { eps: 0 }, { weightDecay: -1 }, { maxGradNorm: -1 }, { lr: 1 }])
    expect(OptimizerConfig.safeParse(wrong).success).toBe(false);
});

/** AdamW and the average in plain doubles, by the textbook. */
function loop(value: number[], gradients: readonly (readonly number[])[], clip: number) {
  const { beta1, beta2, eps, weightDecay } = optimizer;
  const [p, m, v, ema] = [[...value], value.map(() => 0), value.map(() => 0), [...value]];
  gradients.forEach((gradient, k) =>
    gradient.forEach((raw, i) => {
      const g = raw * clip;
      p[i]! *= 1 - RATE * weightDecay;
      m[i] = beta1 * m[i]! + (1 - beta1) * g;
      v[i] = beta2 * v[i]! + (1 - beta2) * g * g;
      const [mHat, vHat] = [m[i] / (1 - beta1 ** (k + 1)), v[i] / (1 - beta2 ** (k + 1))];
      p[i]! -= (RATE * mHat) / (Math.sqrt(vHat) + eps);
      ema[i] = DECAY * ema[i]! + (1 - DECAY) * p[i]!;
    }),
  );
  return { value: p, m, v, ema };
}

describe("adamw()", () => {
  const STEPS = 4;
  const value = draw("value", 6);
  const zeros = { shape: [6], data: new Float32Array(6) };
  // Some elements have gradients near eps, and one has none.
  const gradients = Array.from({ length: STEPS }, (_, k) =>
    draw(`gradient ${k}`, 6).data.map((g, i) => g * [1, 1e-3, 1e-4, 0, 10, 1][i]!),
  );

  test.each([1, 0.25])("takes the steps of a loop in doubles, with gradients times %d", async (clip) => {
    let state = { value, m: zeros, v: zeros, ema: value };
    for (const [k, data] of gradients.entries()) {
      const scalars = { shape: [STEP_SCALARS.length], data: stepScalars(optimizer, k + 1, RATE, DECAY) };
      const gradient = { shape: [6], data };
      const next = (await runOnce({ ...state, gradient, scalars }, ({ gradient, scalars, ...state }) => ({
        ...adamw(state, gradient as tf.Tensor, clip, scalars as tf.Tensor1D, optimizer),
      }))) as Record<keyof typeof state, Float32Array>;
      state = Object.fromEntries(
        Object.entries(next).map(([name, data]) => [name, { shape: [6], data }]),
      ) as unknown as typeof state;
    }
    const expected = loop(
      Array.from(value.data),
      gradients.map((g) => Array.from(g)),
      clip,
    );
    for (const name of ["value", "m", "v", "ema"] as const)
      expectClose(state[name].data, expected[name], 4 * TOLERANCE.elementwise, name); // four steps
  });

  test("decays the weight and the moments of a parameter without gradient", async () => {
    const [m, v] = [draw("m", 6), { shape: [6], data: draw("v", 6).data.map((x) => x * x) }];
    const scalars = { shape: [STEP_SCALARS.length], data: stepScalars(optimizer, 3, RATE, DECAY) };
    const run = (gradient: tf.Tensor | null) =>
      runOnce({ value, m, v, ema: zeros, scalars, zeros }, (t) => ({
        ...adamw({ value: t.value, m: t.m, v: t.v, ema: t.ema }, gradient && t.zeros, 1, t.scalars, optimizer),
      }));
    const [none, zero] = [await run(null), await run({} as tf.Tensor)];
    for (const name of ["value", "m", "v", "ema"] as const) expectClose(none[name], zero[name], 1e-7, name);
    expectClose(
      none["m"],
      m.data.map((x) => 0.8 * x),
      TOLERANCE.elementwise,
    );
    expectClose(
      none["v"],
      v.data.map((x) => 0.9 * x),
      TOLERANCE.elementwise,
    );
    const step = (i: number): number =>
      (RATE * ((0.8 * m.data[i]!) / (1 - 0.8 ** 3))) / (Math.sqrt((0.9 * v.data[i]!) / (1 - 0.9 ** 3)) + 1e-3);
    expectClose(
      none["value"],
      value.data.map((x, i) => x * (1 - RATE * 0.3) - step(i)),
      TOLERANCE.elementwise,
    );
  });
});

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
    expectClose(outputs.norm, [norm], TOLERANCE.layer);
    expectClose(outputs.factor, [expected], TOLERANCE.layer);
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

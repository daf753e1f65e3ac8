import type * as tf from "@tensorflow/tfjs-core";
import { adamw, OptimizerConfig, STEP_SCALARS, stepScalars } from "./adamw.js";
import { draw, expectClose, runOnce, TOLERANCE, type Value } from "./testing.js";

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

  const scalarsOf = (step: number): Value => ({
    shape: [STEP_SCALARS.length],
    data: stepScalars(optimizer, step, RATE, DECAY),
  });

  test.each([1, 0.25, null])("takes the steps of a loop in doubles, with gradients times %s", async (clip) => {
    type State = Readonly<Record<"value" | "m" | "v" | "ema", Value>>;
    let state: State = { value, m: zeros, v: zeros, ema: value };
    for (const [k, data] of gradients.entries()) {
      const gradient = { shape: [6], data };
      const next = await runOnce(
        { ...state, gradient, scalars: scalarsOf(k + 1) },
        ({ gradient, scalars, ...state }) => ({
          ...(adamw(state, gradient, clip, scalars as tf.Tensor1D, optimizer) as Record<keyof State, tf.Tensor>),
        }),
      );
      const entries = Object.entries(next).map(([name, data]) => [name, { shape: [6], data }]);
      state = Object.fromEntries(entries) as State;
    }
    const expected = loop(
      Array.from(value.data),
      gradients.map((g) => Array.from(g)),
      clip ?? 1,
    );
    for (const name of ["value", "m", "v", "ema"] as const)
      expectClose(state[name].data, expected[name], 4 * TOLERANCE.elementwise, name); // four steps
  });

  test("without clipping rounds the second moment as it is written", async () => {
    const v = draw("v", 6).data.map((x) => x * x);
    const inputs = {
      value,
      m: zeros,
      v: { shape: [6], data: v },
      gradient: draw("gradient", 6),
      scalars: scalarsOf(1),
    };
    const next = await runOnce(inputs, ({ gradient, scalars, ...state }) => ({
      v: adamw(state, gradient, null, scalars as tf.Tensor1D, optimizer).v,
    }));
    const f = Math.fround;
    const expected = v.map((v, i) => f(f(v * f(0.9)) + f(f(inputs.gradient.data[i]! ** 2) * f(1 - 0.9))));
    expect(next.v).toEqual(expected);
  });

  test("keeps no average where there is none", async () => {
    const gradient = { shape: [6], data: gradients[0]! };
    const inputs = { value, m: zeros, v: zeros, gradient, scalars: scalarsOf(1) };
    const [without, with_] = [false, true].map((average) =>
      runOnce(inputs, ({ gradient, scalars, ...state }) => {
        const before = average ? { ...state, ema: state.value } : state;
        const { ema, ...next } = adamw(before, gradient, 1, scalars as tf.Tensor1D, optimizer);
        expect(ema === undefined).toBe(!average);
        return { ...next };
      }),
    );
    expect(await without).toEqual(await with_);
  });

  test("decays the weight and the moments of a parameter without gradient", async () => {
    const [m, v] = [draw("m", 6), { shape: [6], data: draw("v", 6).data.map((x) => x * x) }];
    const run = (withZero: boolean) =>
      runOnce({ value, m, v, ema: zeros, scalars: scalarsOf(3), zeros }, ({ scalars, zeros, ...state }) => ({
        ...(adamw(state, withZero ? zeros : null, 1, scalars as tf.Tensor1D, optimizer) as Required<typeof state>),
      }));
    const [none, zero] = [await run(false), await run(true)];
    for (const name of ["value", "m", "v", "ema"] as const) expectClose(none[name], zero[name], 1e-7, name);
    expectClose(
      none.m,
      m.data.map((x) => 0.8 * x),
      TOLERANCE.elementwise,
    );
    expectClose(
      none.v,
      v.data.map((x) => 0.9 * x),
      TOLERANCE.elementwise,
    );
    const step = (i: number): number =>
      (RATE * ((0.8 * m.data[i]!) / (1 - 0.8 ** 3))) / (Math.sqrt((0.9 * v.data[i]!) / (1 - 0.9 ** 3)) + 1e-3);
    expectClose(
      none.value,
      value.data.map((x, i) => x * (1 - RATE * 0.3) - step(i)),
      TOLERANCE.elementwise,
    );
  });
});

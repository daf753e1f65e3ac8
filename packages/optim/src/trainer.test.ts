import { hostCopies, spec, type EngineName } from "@madformer/engine";
import * as tf from "@tensorflow/tfjs-core";
import { OptimizerConfig, stepScalars } from "./adamw.js";
import { weightedLoss } from "./loss.js";
import { draw, expectClose, TOLERANCE } from "./testing.js";
import { Trainer, type FirstState } from "./trainer.js";

const optimizer = OptimizerConfig.parse({ maxGradNorm: 0.5, weightDecay: 0.3, eps: 1e-3 });
const [W, X] = [draw("w", 3).data, draw("x", 8, 3).data];
const params = { w: W, apart: Float32Array.of(4) };

/** Least squares of x w = 1; one parameter has no gradient. */
const trainer = (
  rows: number,
  accumulate: number,
  maxGradNorm = optimizer.maxGradNorm,
  first: FirstState = { params, ema: params },
  engine: EngineName = "onnx",
) =>
  Trainer.create(
    {
      name: "line",
      parameters: { w: { shape: [3] }, apart: { shape: [1] } },
      batch: { x: spec([rows, 3]) },
      loss: ({ w }, { x }) => {
        const y = tf.dot(x, w as tf.Tensor1D);
        return weightedLoss({
          fit: { weight: 1, value: () => tf.mean(tf.squaredDifference(y, 1)) },
          size: { weight: 0.5, value: () => tf.mean(tf.abs(w!)) },
        });
      },
      optimizer: { ...optimizer, maxGradNorm },
      accumulate,
      compile: { engine },
    },
    first,
  );
const rowsOf = (part: number, parts: number): Float32Array =>
  X.slice((part * X.length) / parts, ((part + 1) * X.length) / parts);

describe("a Trainer", () => {
  const [RATE, DECAY] = [0.01, 0.75];
  const scalars = (step: number): Float32Array => stepScalars(optimizer, step, RATE, DECAY);

  test.each([
    ["clipped", 0.5],
    ["not clipped", 0],
  ])("makes a step of AdamW over the gradients of the loss, %s", async (_, maxGradNorm) => {
    await using training = await trainer(8, 1, maxGradNorm);
    const measures = (await training.run({ x: X }, scalars(1)))!;
    // In doubles.
    const errors = Array.from({ length: 8 }, (_, row) => [0, 1, 2].reduce((y, i) => y + X[row * 3 + i]! * W[i]!, -1));
    const fit = errors.reduce((sum, e) => sum + e * e, 0) / 8;
    const size = W.reduce((sum, w) => sum + Math.abs(w), 0) / 3;
    const g = [0, 1, 2].map(
      (i) => errors.reduce((sum, e, row) => sum + (2 * e * X[row * 3 + i]!) / 8, 0) + (0.5 * Math.sign(W[i]!)) / 3,
    );
    const norm = Math.hypot(...g);
    expect(norm).toBeGreaterThan(0.6);
    const expected = { loss: fit + 0.5 * size, fit, size, gradNorm: norm };
    expect(Object.keys(measures)).toEqual(Object.keys(expected));
    for (const name of Object.keys(expected) as (keyof typeof expected)[])
      expectClose([measures[name]], [expected[name]], TOLERANCE.sums, name);
    const clip = maxGradNorm > 0 ? maxGradNorm / (norm + 1e-6) : 1;
    const after = g.map((g, i) => W[i]! * (1 - RATE * 0.3) - (RATE * clip * g) / (Math.abs(clip * g) + 1e-3));
    expectClose((await training.part("params"))["w"]!, after, TOLERANCE.sums, "w");
    expectClose(
      await training.read("m", "w"),
      g.map((g) => 0.1 * clip * g),
      TOLERANCE.sums,
      "m",
    );
    expectClose(
      await training.read("ema", "w"),
      after.map((w, i) => DECAY * W[i]! + (1 - DECAY) * w),
      TOLERANCE.sums,
      "average",
    );
    expectClose(await training.read("params", "apart"), [4 * (1 - RATE * 0.3)], TOLERANCE.elementwise, "apart");
  });

  test("makes the same step of several runs, and the next one of new gradients", async () => {
    await using whole = await trainer(8, 1);
    await using parts = await trainer(2, 4);
    for (let step = 1; step <= 3; step++) {
      const expected = (await whole.run({ x: X }, scalars(step)))!;
      for (let part = 0; part < 3; part++) expect(await parts.run({ x: rowsOf(part, 4) }, undefined)).toBeUndefined();
      const found = (await parts.run({ x: rowsOf(3, 4) }, scalars(step)))!;
      for (const name of ["loss", "fit", "size", "gradNorm"] as const)
        expectClose([found[name]], [expected[name]], TOLERANCE.sums, `${name} of step ${step}`);
    }
    for (const part of ["params", "m", "v", "ema"] as const) {
      const [ours, theirs] = [await parts.part(part), await whole.part(part)];
      for (const name of ["w", "apart"]) expectClose(ours[name]!, theirs[name]!, TOLERANCE.sums, `${part}/${name}`);
    }
  });

  test("runs on the engine that it is told, all its programs", async () => {
    for (const [rows, accumulate] of [
      [8, 1],
      [4, 2],
    ] as const) {
      await using onnx = await trainer(rows, accumulate);
      await using cpu = await trainer(rows, accumulate, undefined, undefined, "cpu");
      const step = async (of: typeof cpu) => {
        for (let part = 0; part < accumulate - 1; part++) await of.run({ x: rowsOf(part, accumulate) }, undefined);
        return (await of.run({ x: rowsOf(accumulate - 1, accumulate) }, scalars(1)))!;
      };
      const [found, expected] = [await step(cpu), await step(onnx)];
      for (const name of ["loss", "gradNorm"] as const) expectClose([found[name]], [expected[name]], TOLERANCE.sums);
      expect([onnx, cpu].map(({ state }) => state.handle("params/w").engine)).toEqual(["onnx", "cpu"]);
    }
  });

  test("of several runs copies measures to the host, and neither gradients nor parameters", async () => {
    await using training = await trainer(2, 4);
    const before = hostCopies();
    for (let part = 0; part < 4; part++)
      await training.run({ x: rowsOf(part, 4) }, part === 3 ? scalars(1) : undefined);
    const { count, bytes } = hostCopies();
    expect([count - before.count, bytes - before.bytes]).toEqual([4 * 3 + 1, 4 * (4 * 3 + 1)]);
  });

  test("goes on from the state of another one to the same bits, and from weights alone with moments of zero", async () => {
    const stateOf = async (of: Awaited<ReturnType<typeof trainer>>) => ({
      ...{ params: await of.part("params"), ema: await of.part("ema") },
      ...{ m: await of.part("m"), v: await of.part("v") },
    });
    await using first = await trainer(8, 1);
    expect((await stateOf(first)).m).toEqual({ w: new Float32Array(3), apart: new Float32Array(1) });
    await first.run({ x: X }, scalars(1));
    await using second = await trainer(8, 1, 0.5, await stateOf(first));
    expect(await stateOf(second)).toEqual(await stateOf(first));
    for (const training of [first, second]) await training.run({ x: X }, scalars(2));
    expect(await stateOf(second)).toEqual(await stateOf(first));
  });

  test("of one run needs its scalars", async () => {
    await using training = await trainer(8, 1);
    await expect(training.run({ x: X }, undefined)).rejects.toThrow(
      new TypeError("Cannot make a step of one run: its scalars are missing"),
    );
  });
});

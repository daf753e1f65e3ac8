import { compile, spec } from "@madformer/engine";
import { STEP_SCALARS } from "@madformer/optim";
import * as tf from "@tensorflow/tfjs-core";
import { normals } from "../linalg/testing.js";
import { BATCH_NORM_EPSILON, batchNorm } from "./batch-norm.js";
import type { Label } from "./labels.js";
import { facesNetFeatures, facesNetHead, facesNetUnits, finishedUnit, initialWeights } from "./network.js";
import {
  attributeLoss,
  facesNetScalars,
  facesNetSignature,
  facesNetStep,
  finishedWeights,
  NUMBER_WEIGHT,
} from "./train-step.js";

const LABELS: readonly Label[] = [
  { kind: "classes", name: "a", values: ["x", "y", "z"] },
  { kind: "number", name: "n", min: 0, max: 1 },
  { kind: "classes", name: "b", values: ["x", "y"] },
];

/** Sums of some hundred terms in float32, in another order than here: each rounds by up to 6e-8 of the sum so far. */
const CLOSE = 5;

const drawn = (size: number, seed: number): Float32Array => {
  const draw = normals(seed);
  return Float32Array.from({ length: size }, draw);
};

describe("batchNorm()", () => {
  const shape = [3, 2, 4, 5] as const; // 24 rows of 5 channels
  const [x, scale, shift, dy] = [drawn(120, 1).map((x) => 3 * x + 2), drawn(5, 2), drawn(5, 3), drawn(120, 4)];
  const rows = Array.from({ length: 24 }, (_, row) => [...x.subarray(row * 5, (row + 1) * 5)]);
  const mean = scale.map((_, c) => rows.reduce((sum, row) => sum + row[c]!, 0) / 24);
  const variance = scale.map((_, c) => rows.reduce((sum, row) => sum + (row[c]! - mean[c]!) ** 2, 0) / 24);

  test("brings channels to mean 0 and variance 1, and says what they were", async () => {
    const program = await compile((_, { x, scale, shift }) => ({ outputs: { ...batchNorm(x, scale, shift) } }), {
      inputs: { x: spec(shape), scale: spec([5]), shift: spec([5]) },
    });
    const found = await program.run({ x, scale, shift });
    const normal = (i: number): number => (x[i]! - mean[i % 5]!) / Math.sqrt(variance[i % 5]! + BATCH_NORM_EPSILON);
    x.forEach((_, i) => expect(found.y[i]).toBeCloseTo(normal(i) * scale[i % 5]! + shift[i % 5]!, CLOSE));
    mean.forEach((m, c) => expect(found.mean[c]).toBeCloseTo(m, CLOSE));
    variance.forEach((v, c) => expect(found.variance[c]).toBeCloseTo(v, CLOSE));
    await program.dispose();
  });

  test("has the gradient of what tfjs composes", async () => {
    type Three = [tf.Tensor4D, tf.Tensor1D, tf.Tensor1D];
    const composed = (x: tf.Tensor4D, scale: tf.Tensor1D, shift: tf.Tensor1D): tf.Tensor4D => {
      const mean = tf.mean(x, [0, 1, 2], true);
      const centered = tf.sub(x, mean);
      const variance = tf.mean(tf.square(centered), [0, 1, 2], true);
      return tf.add(tf.mul(tf.div(centered, tf.sqrt(tf.add(variance, BATCH_NORM_EPSILON))), scale), shift);
    };
    const gradientsOf = (fn: (...values: Three) => tf.Tensor4D) => (dy: tf.Tensor, values: Three) =>
      tf.grads((...values) => fn(...(values as unknown as Three)))(values, dy);
    const program = await compile(
      (_, { x, scale, shift, dy }) => {
        const ours = gradientsOf((...values) => batchNorm(...values).y)(dy, [x, scale, shift]);
        const theirs = gradientsOf(composed)(dy, [x, scale, shift]);
        const named = ([dx, dscale, dshift]: tf.Tensor[]) => ({ dx: dx!, dscale: dscale!, dshift: dshift! });
        return { outputs: { ours: named(ours), theirs: named(theirs) } };
      },
      { inputs: { x: spec(shape), scale: spec([5]), shift: spec([5]), dy: spec(shape) } },
    );
    const { ours, theirs } = await program.run({ x, scale, shift, dy });
    for (const name of ["dx", "dscale", "dshift"] as const)
      theirs[name].forEach((value, i) => expect(ours[name][i]).toBeCloseTo(value, CLOSE));
    expect(Math.max(...theirs.dx.map(Math.abs))).toBeGreaterThan(0.1);
    await program.dispose();
  });
});

describe("attributeLoss()", () => {
  const lossOf = async (outputs: number[], targets: number[], known: number[]): Promise<number> => {
    const B = outputs.length / 6;
    const program = await compile(
      (_, { y, targets, known }) => ({ outputs: { loss: attributeLoss(LABELS, y, { targets, known }) } }),
      { inputs: { y: spec([B, 6]), targets: spec([B, 6]), known: spec([B, 6]) } },
    );
    const { loss } = await program.run({ y: outputs, targets, known });
    await program.dispose();
    return loss[0]!;
  };

  test("of equal odds is the logarithm of the number of classes, and of a number its squared error", async () => {
    const loss = await lossOf([7, 7, 7, 0.25, -1, -1], [0, 1, 0, 0.75, 1, 0], [1, 1, 1, 1, 1, 1]);
    expect(loss).toBeCloseTo((Math.log(3) + NUMBER_WEIGHT * 0.5 ** 2 + Math.log(2)) / 3, 6);
  });

  test("of the right answer is nothing, and what an image does not have costs nothing", async () => {
    const sure = [0, 40, 0, 0.5, 40, 0];
    expect(await lossOf(sure, [0, 1, 0, 0.5, 1, 0], [1, 1, 1, 1, 1, 1])).toBeCloseTo(0, 6);
    // The second image knows nothing of itself: it halves the mean over images, and adds nothing.
    const [one, two] = [await lossOf(sure, [1, 0, 0, 0, 0, 1], [1, 1, 1, 1, 1, 1]), [5, -5, 3, 9, 1, 7]];
    const both = await lossOf(
      [...sure, ...two],
      [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0],
      [1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0],
    );
    expect(one).toBeCloseTo((40 + NUMBER_WEIGHT * 0.25 + 40) / 3, 4);
    expect(both).toBeCloseTo(one / 2, 4);
  });
});

test("facesNetStep() learns a single attribute", async () => {
  for (const label of LABELS.slice(0, 2)) {
    const size = { sidePixels: 32, dims: 64, outputs: label.kind === "classes" ? 3 : 1 };
    await using program = await compile(facesNetStep(size, [label]), facesNetSignature(size, 2), {
      initialState: { params: initialWeights(size, 1) },
    });
    const targets = label.kind === "classes" ? [1, 0, 0, 0, 0, 1] : [-0.5, 0.5];
    const batch = { images: drawn(2 * 32 * 32 * 3, 6), targets, known: targets.map(() => 1) };
    const losses = [];
    for (let step = 1; step <= 12; step++)
      losses.push((await program.run({ ...batch, scalars: facesNetScalars(step, 3e-3, 0) })).loss[0]!);
    expect(losses.at(-1)).toBeLessThan(0.5 * losses[0]!);
  }
});

describe("facesNetStep()", () => {
  const size = { sidePixels: 32, dims: 64, outputs: 6 };
  const B = 4;
  const images = drawn(B * 32 * 32 * 3, 5).map((x) => Math.tanh(x));

  test("learns, and the finished network says what the trained one did", async () => {
    const targets = Float32Array.from(
      Array.from({ length: B }, (_, i) => [i === 0, i === 1, i > 1, i / 4, i < 2, i > 1].map(Number)).flat(),
    );
    const known = new Float32Array(B * 6).fill(1);
    const program = await compile(facesNetStep(size, LABELS), facesNetSignature(size, B), {
      initialState: { params: initialWeights(size, 1) },
    });
    const losses = [];
    for (let step = 1; step <= 40; step++) {
      const { loss } = await program.run({ images, targets, known, scalars: facesNetScalars(step, 3e-3, 1e-4) });
      losses.push(loss[0]!);
    }
    expect(losses[0]).toBeGreaterThan(0.5);
    expect(losses.at(-1)).toBeLessThan(0.05);

    // At rate 0 the same batch over and over: the averages become its own mean and variance.
    for (let step = 1; step <= 60; step++) {
      const scalars = facesNetScalars(step, 0, 0);
      scalars[STEP_SCALARS.indexOf("emaShare")] = 0.5;
      losses.push((await program.run({ images, targets, known, scalars })).loss[0]!);
    }
    const { params, running } = await program.state.readAll();
    const finished = finishedWeights(64, params, running);
    const evaluate = await compile(
      (weights, { images, targets, known }) => {
        const outputs = facesNetHead(weights, facesNetFeatures(images, 64, finishedUnit(weights)));
        return { outputs: { loss: attributeLoss(LABELS, outputs, { targets, known }) } };
      },
      {
        state: Object.fromEntries(Object.entries(finished).map(([name, { length }]) => [name, specOf(name, length)])),
        inputs: { images: spec([B, 32, 32, 3]), targets: spec([B, 6]), known: spec([B, 6]) },
      },
      { initialState: finished },
    );
    const { loss } = await evaluate.run({ images, targets, known });
    // Seven layers whose normalizations round apart.
    expect(loss[0]).toBeCloseTo(losses.at(-1)!, 4);
    await program.dispose();
    await evaluate.dispose();
  });

  test("keeps the averages of what batches are normalized with", async () => {
    const other = drawn(images.length, 7).map((x) => Math.tanh(x / 2 + 0.5));
    const blank = { targets: new Float32Array(B * 6), known: new Float32Array(B * 6) };
    const averagesOf = async (...batches: Float32Array[]): Promise<Float32Array> => {
      await using program = await compile(facesNetStep(size, LABELS), facesNetSignature(size, B), {
        initialState: { params: initialWeights(size, 1) },
      });
      for (const [i, images] of batches.entries())
        await program.run({ images, ...blank, scalars: facesNetScalars(i + 1, 0, 0) });
      return (await program.state.read("running/stem.mean")) as Float32Array;
    };
    const [a, b, both] = [await averagesOf(images), await averagesOf(other), await averagesOf(images, other)];
    both.forEach((x, i) => expect(x).toBeCloseTo((a[i]! + b[i]!) / 2, CLOSE));
    expect(Math.max(...a.map((x, i) => Math.abs(x - b[i]!)))).toBeGreaterThan(0.05);
  });

  function specOf(name: string, length: number) {
    if (name === "head.weight") return spec([64, 6]);
    const unit = facesNetUnits(64).find((unit) => name === `${unit.name}.kernel`);
    return unit ? spec([unit.kernel, unit.kernel, unit.channelsIn, unit.channelsOut]) : spec([length]);
  }
});

describe("facesNetScalars()", () => {
  test("makes averages plain means of all batches at first", () => {
    let [mean, sum] = [0, 0];
    for (let step = 1; step <= 20; step++) {
      mean += (step ** 2 - mean) * facesNetScalars(step, 1e-3, 0)[STEP_SCALARS.indexOf("emaShare")]!;
      sum += step ** 2;
      expect(mean).toBeCloseTo(sum / step, 4);
    }
    expect(facesNetScalars(1000, 1e-3, 0)[STEP_SCALARS.indexOf("emaShare")]).toBeCloseTo(0.02, 7);
  });
});

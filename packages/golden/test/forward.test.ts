import { forward, madformerSpecs, type OutputName } from "@madformer/model";
import type * as tf from "@tensorflow/tfjs-core";
import { expectClose, goldenTensors, META, toleranceOf, type GoldenTensor } from "./golden.js";
import { configOf, nhwc, runOnce, VARIANTS, weightsOf } from "./model.js";

const OUTPUTS: readonly [OutputName, string][] = [
  ["noisePred", "noise_pred"],
  ["condition", "condition"],
  ["cleanTower", "clean_tower"],
];
type Batch = { cleanX: tf.Tensor4D; noisedX: tf.Tensor4D; t: tf.Tensor2D };

const golden = goldenTensors("forward.safetensors");
const inputsOf = (tensors: Record<string, GoldenTensor>) => ({
  cleanX: tensors["clean_x"] as GoldenTensor,
  noisedX: tensors["noised_x"] as GoldenTensor,
  t: tensors["t"] as GoldenTensor,
});

describe.each(VARIANTS)("forward() of %s", (variant) => {
  const config = configOf(variant);
  const present = OUTPUTS.filter(([, name]) => `${variant}.${name}` in golden);
  const noise = META.forward[variant].float64.max_abs_diff as Record<string, number>;

  test("has every output of the reference", async () => {
    const run = async (wanted: OutputName[]) =>
      runOnce(weightsOf(config), madformerSpecs(config), inputsOf(golden), (p, batch) =>
        forward(p, config, batch, wanted),
      );
    const outputs = await run(present.map(([name]) => name));
    for (const [ours, theirs] of present) {
      const expected = nhwc(golden[`${variant}.${theirs}`] as GoldenTensor);
      expectClose(outputs[ours] as Float32Array, expected, toleranceOf(noise[theirs] ?? NaN), `${variant}.${theirs}`);
      // Alone it comes out of another graph, in which what it does not need is missing.
      const alone = (await run([ours]))[ours] as Float32Array;
      expectClose(alone, expected, toleranceOf(noise[theirs] ?? NaN), `${variant}.${theirs}, alone`);
    }
    expect(present.length).toBe(config.clearClean ? 2 : 3);
  });
});

test("forward() is the same on the cpu engine", async () => {
  const config = configOf("default");
  // One image: the engine of plain JavaScript is slow.
  const first = (tensor: GoldenTensor): GoldenTensor => {
    const [N = 1, ...rest] = tensor.shape;
    return { shape: [1, ...rest], data: tensor.data.slice(0, tensor.data.length / N) };
  };
  const { cleanX, noisedX, t } = inputsOf(golden);
  const inputs = { cleanX: first(cleanX), noisedX: first(noisedX), t: first(t) };
  const run = (p: Record<string, tf.Tensor>, batch: Batch) =>
    forward(p, config, batch, ["noisePred", "condition"]) as Record<string, tf.Tensor>;
  const outputs = await runOnce(weightsOf(config), madformerSpecs(config), inputs, run, "cpu");
  for (const [ours, theirs] of OUTPUTS.slice(0, 2)) {
    const expected = nhwc(golden[`default.${theirs}`] as GoldenTensor);
    const actual = outputs[ours] as Float32Array;
    const noise = META.forward.default.float64.max_abs_diff[theirs] as number;
    expectClose(actual, expected.subarray(0, actual.length), toleranceOf(noise), `default.${theirs}, cpu`);
  }
});

test("forward() passes through the reference's intermediate values", async () => {
  const config = configOf("default");
  const trace = goldenTensors("trace.safetensors");
  const seen: Record<string, tf.Tensor> = {};
  const outputs = await runOnce(weightsOf(config), madformerSpecs(config), inputsOf(golden), (p, batch) => {
    forward(p, config, batch, ["noisePred", "condition", "cleanTower"], (name, value) => {
      seen[name] = value;
    });
    return { ...seen };
  });
  const shapes = Object.fromEntries(Object.entries(seen).map(([name, { shape }]) => [name, shape]));
  const names: Record<string, string> = { noise_pred: "noisePred", condition: "condition", clean_tower: "cleanTower" };
  // No noise was recorded for them: values of the size of v are off by some 1e-6 v after this many operations.
  const tolerance = (expected: ArrayLike<number>): number =>
    1e-5 *
    Math.max(
      1,
      Array.from(expected).reduce((max, value) => Math.max(max, Math.abs(value)), 0),
    );
  const check = (name: string, actual: Float32Array | undefined, expected: Float32Array): void => {
    if (!actual) throw new Error(`nothing was observed for "${name}"`);
    expectClose(actual.subarray(0, expected.length), expected, tolerance(expected), name);
  };
  for (const [name, tensor] of Object.entries(trace)) {
    if (name.startsWith("downsampler")) check(name, outputs[name], nhwc(tensor));
    else if (name.startsWith("upsampler")) {
      const ours = name.replace(/upsampler\.(\w+)\.in/, (_, of: string) => `upsampler.${names[of]}.in`);
      check(name, outputs[ours], nhwc(tensor));
    } else {
      // Clean tokens, then noised ones; ours are apart.
      const half = tensor.data.length / 2;
      check(`${name}, clean`, outputs[`${name}.clean`], tensor.data.subarray(0, half) as Float32Array);
      check(`${name}, noised`, outputs[`${name}.noised`], tensor.data.subarray(half) as Float32Array);
    }
  }
  expect(Object.keys(shapes).length).toBeGreaterThan(0);
});

test("forward() has the outputs of a model with head dimension 64", async () => {
  const tensors = goldenTensors("headdim64_forward.safetensors");
  const config = configOf("default", META.headdim64.model as object);
  const weights = weightsOf(config, "headdim64_model.safetensors");
  const prefix = Object.keys(tensors).some((name) => name.startsWith("default.")) ? "default." : "";
  const present = OUTPUTS.filter(([, name]) => `${prefix}${name}` in tensors);
  expect(present.length).toBeGreaterThan(0);
  const layers = Array.from({ length: config.arLayers + config.diffusionLayers }, (_, i) => i);
  const outputs = await runOnce(weights, madformerSpecs(config), inputsOf(tensors), (p, batch) => {
    const seen: Record<string, tf.Tensor> = {};
    const results = forward(
      p,
      config,
      batch,
      present.map(([name]) => name),
      (name, value) => {
        if (/^blocks\.\d+\.out/.test(name)) seen[name] = value;
      },
    );
    return { ...seen, ...(results as Record<string, tf.Tensor>) };
  });
  const noise = META.headdim64 as { float64_max_abs_diff?: Record<string, number> };
  for (const [ours, theirs] of present)
    expectClose(
      outputs[ours] as Float32Array,
      nhwc(tensors[`${prefix}${theirs}`] as GoldenTensor),
      toleranceOf(noise.float64_max_abs_diff?.[theirs] ?? NaN),
      theirs,
    );
  for (const layer of layers) {
    const expected = tensors[`blocks.${layer}.out`] as GoldenTensor;
    const half = expected.data.length / 2;
    for (const [i, tower] of ["clean", "noised"].entries())
      expectClose(
        outputs[`blocks.${layer}.out.${tower}`] as Float32Array,
        expected.data.subarray(i * half, (i + 1) * half),
        1e-4,
        `blocks.${layer}.out, ${tower}`,
      );
  }
});

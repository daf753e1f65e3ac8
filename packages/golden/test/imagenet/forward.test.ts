import { forward, madformerSpecs, textLogits, type OutputName, type WithText } from "@madformer/model";
import type * as tf from "@tensorflow/tfjs-core";
import { expectClose, toleranceOf, type GoldenTensor } from "../golden.js";
import { nhwc, runOnce, scopeOf } from "../model.js";
import { configOf, META, partsOf, tensorsOf, VARIANTS, weightsOf } from "./set.js";

const OUTPUTS: readonly [Exclude<OutputName, "text"> | "logits", string][] = [
  ["noisePred", "noise_pred"],
  ["condition", "condition"],
  ["cleanTower", "clean_tower"],
  ["logits", "logits"],
];
type Name = (typeof OUTPUTS)[number][0];
type Batch = { cleanX: tf.Tensor4D; noisedX: tf.Tensor4D; t: tf.Tensor2D; text: tf.Tensor2D };
type P = Record<string, tf.Tensor>;

const golden = tensorsOf("forward.safetensors");
const inputsOf = (tensors: Record<string, GoldenTensor>, ids = "input_ids") => ({
  cleanX: tensors["clean_x"] as GoldenTensor,
  noisedX: tensors["noised_x"] as GoldenTensor,
  t: tensors["t"] as GoldenTensor,
  text: tensors[ids] as GoldenTensor,
});

/** The wanted outputs as the reference has them: the text as logits. */
function outputsOf(
  p: P,
  config: WithText,
  batch: Batch,
  names: readonly Name[],
  observe?: Parameters<typeof forward>[4],
) {
  const wanted = names.map((name) => (name === "logits" ? "text" : name));
  const { text, ...latents } = forward(p, config, batch, wanted, observe);
  return { ...latents, ...(text ? { logits: textLogits(scopeOf(p), text) } : {}) } as Record<string, tf.Tensor>;
}

/** As our outputs lie: latents channels last. */
const laidOut = (name: Name, tensor: GoldenTensor): Float32Array =>
  name === "logits" ? (tensor.data as Float32Array) : nhwc(tensor);

describe.each(VARIANTS)("forward() of %s with text", (variant) => {
  const config = configOf(variant);
  const present = OUTPUTS.filter(([, name]) => `${variant}.${name}` in golden);
  const noise = META.forward[variant].plain.float64.max_abs_diff as Record<string, number>;
  const run = (names: readonly Name[], ids?: string) =>
    runOnce(weightsOf(config), madformerSpecs(config), inputsOf(golden, ids), (p, batch) =>
      outputsOf(p, config, batch, names),
    );

  test("has every output of the reference, together and alone", async () => {
    const outputs = await run(present.map(([name]) => name));
    for (const [ours, theirs] of present) {
      const expected = laidOut(ours, golden[`${variant}.${theirs}`] as GoldenTensor);
      const tolerance = toleranceOf(noise[theirs] ?? NaN);
      expectClose(outputs[ours] as Float32Array, expected, tolerance, `${variant}.${theirs}`);
      const alone = (await run([ours]))[ours] as Float32Array;
      expectClose(alone, expected, tolerance, `${variant}.${theirs}, alone`);
    }
    expect(present.length).toBe(config.clearClean ? 3 : 4);
  });

  test("changes with the classes as much as the reference's", async () => {
    const changes = META.forward[variant].plain.other_classes_max_abs_change as Record<string, number>;
    const names = present.map(([name]) => name);
    const [one, other] = [await run(names), await run(names, "other_input_ids")];
    for (const [ours, theirs] of present) {
      const change = one[ours]!.reduce((max, x, i) => Math.max(max, Math.abs(x - other[ours]![i]!)), 0);
      // Both figures are differences of two outputs.
      expectClose(
        [change],
        [changes[theirs] ?? NaN],
        2 * toleranceOf(noise[theirs] ?? NaN),
        `${theirs}, other classes`,
      );
    }
  });
});

test("forward() with text is the same on the cpu engine", async () => {
  const config = configOf("default");
  // One image: the engine of plain JavaScript is slow.
  const first = ({ shape, data }: GoldenTensor): GoldenTensor => ({
    shape: [1, ...shape.slice(1)],
    data: data.slice(0, data.length / (shape[0] ?? 1)),
  });
  const inputs = Object.fromEntries(
    Object.entries(inputsOf(golden)).map(([name, tensor]) => [name, first(tensor)]),
  ) as ReturnType<typeof inputsOf>;
  const names = ["noisePred", "logits"] as const;
  const run = (p: P, batch: Batch) => outputsOf(p, config, batch, names);
  const outputs = await runOnce(weightsOf(config), madformerSpecs(config), inputs, run, "cpu");
  for (const [ours, theirs] of OUTPUTS.filter(([name]) => (names as readonly string[]).includes(name))) {
    const actual = outputs[ours] as Float32Array;
    const expected = laidOut(ours, golden[`default.${theirs}`] as GoldenTensor).subarray(0, actual.length);
    const noise = META.forward.default.plain.float64.max_abs_diff[theirs] as number;
    expectClose(actual, expected, toleranceOf(noise), `default.${theirs}, cpu`);
  }
});

test("forward() with text passes through the reference's intermediate values", async () => {
  const config = configOf("default");
  const trace = tensorsOf("trace.safetensors");
  const parts = partsOf(config);
  const total = parts.noised[1];
  const outputs = await runOnce(weightsOf(config), madformerSpecs(config), inputsOf(golden), (p, batch) => {
    const seen: Record<string, tf.Tensor> = {};
    outputsOf(
      p,
      config,
      batch,
      OUTPUTS.map(([name]) => name),
      (name, value) => (seen[name] = value),
    );
    return seen;
  });
  const names: Record<string, string> = { noise_pred: "noisePred", condition: "condition", clean_tower: "cleanTower" };
  // No noise was recorded for them: values of the size of v are off by some 1e-6 v after this many operations.
  const check = (name: string, actual: Float32Array | undefined, expected: Float32Array): void => {
    if (!actual) throw new Error(`nothing was observed for "${name}"`);
    const largest = expected.reduce((max, value) => Math.max(max, Math.abs(value)), 1);
    expectClose(actual.subarray(0, expected.length), expected, 1e-5 * largest, name);
  };
  for (const [name, tensor] of Object.entries(trace)) {
    if (name.startsWith("downsampler")) check(name, outputs[name], nhwc(tensor));
    else if (name.startsWith("upsampler"))
      check(
        name,
        outputs[name.replace(/upsampler\.(\w+)\.in/, (_, of: string) => `upsampler.${names[of]}.in`)],
        nhwc(tensor),
      );
    else if (name === "embed_tokens.out") check(name, outputs[name], tensor.data as Float32Array);
    else
      for (const [stream, [start, end]] of Object.entries(parts)) {
        const width = tensor.data.length / total;
        const expected = tensor.data.subarray(start * width, end * width) as Float32Array;
        check(`${name}, ${stream}`, outputs[`${name}.${stream}`], expected);
      }
  }
  expect(Object.keys(trace).length).toBeGreaterThan(0);
});

const WIDTHS = Object.keys(META as object).filter((name) => /^headdim\d+$/.test(name));
test.each(WIDTHS)("forward() has the outputs and layers of the model %s", async (name) => {
  const tensors = tensorsOf(`${name}_forward.safetensors`);
  const config = configOf("default", META[name].model as object);
  const present = OUTPUTS.filter(([, theirs]) => `default.${theirs}` in tensors);
  expect(present).toHaveLength(4);
  const weights = weightsOf(config, `${name}_model.safetensors`);
  const outputs = await runOnce(weights, madformerSpecs(config), inputsOf(tensors), (p, batch) => {
    const seen: Record<string, tf.Tensor> = {};
    const results = outputsOf(
      p,
      config,
      batch,
      present.map(([name]) => name),
      (key, value) => {
        if (/^blocks\.\d+\.out/.test(key)) seen[key] = value;
      },
    );
    return { ...seen, ...results };
  });
  const noise = META[name].float64_max_abs_diff as Record<string, number>;
  for (const [ours, theirs] of present)
    expectClose(
      outputs[ours] as Float32Array,
      laidOut(ours, tensors[`default.${theirs}`] as GoldenTensor),
      toleranceOf(noise[theirs] ?? NaN),
      theirs,
    );
  const parts = partsOf(config);
  for (let layer = 0; layer < config.arLayers + config.diffusionLayers; layer++) {
    const { data, shape } = tensors[`blocks.${layer}.out`] as GoldenTensor;
    const [N = 0, L = 0, C = 0] = shape;
    expect(L).toBe(parts.noised[1]);
    for (const [stream, [start, end]] of Object.entries(parts)) {
      const actual = outputs[`blocks.${layer}.out.${stream}`] as Float32Array;
      const size = (end - start) * C;
      for (let n = 0; n < N; n++)
        expectClose(
          actual.subarray(n * size, (n + 1) * size),
          data.subarray((n * L + start) * C, (n * L + end) * C),
          1e-4,
          `blocks.${layer}.out, ${stream} of image ${n}`,
        );
    }
  }
});

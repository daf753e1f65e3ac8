import {
  classTokens,
  ddim,
  dpmSolver,
  geometryOf,
  preset,
  Sampler,
  type SolverPlan,
  type TextConfig,
  type WithText,
} from "@madformer/model";
import { expectClose, goldenJson, toleranceOf, type GoldenTensor } from "../golden.js";
import { nhwc } from "../model.js";
import { configOf, FOLDER, META, tensorsOf, weightsOf } from "./set.js";

const SOLVERS: Record<string, (steps: number) => SolverPlan> = { dpm: dpmSolver, ddim: (steps) => ddim(steps) };

const golden = tensorsOf("sample.safetensors");
const noise = golden["initial_noise"] as GoldenTensor;
const [N = 0, T = 0, P = 0, C = 0] = noise.shape;

describe.each(Object.keys(META.sample.runs as object))("Sampler makes the samples of %s with text", (name) => {
  const run = META.sample.runs[name];
  const config = configOf(run.variant);
  const plan = SOLVERS[run.scheduler]!(META.sample.num_inference_steps);
  const tolerance = toleranceOf(run.float64_max_abs_diff);
  const text = golden[name.includes("other_classes") ? "other_input_ids" : "input_ids"]!.data as Int32Array;

  test.each(["per-block", "shared"] as const)("%s", async (programs) => {
    expect(plan.steps.map(({ timestep }) => timestep)).toEqual(run.timesteps);
    const S = plan.steps.length;
    const conditions: number[] = [];
    const recorded = (name: string, at: number, size: number) => golden[name]?.data.slice(at * size, (at + 1) * size);
    await using sampler = await Sampler.create(config, weightsOf(config), { batchImages: N, programs });
    const latents = await sampler.sample(plan, noise.data as Float32Array, {
      text,
      onStep({ block, step, noise: predicted, next }) {
        for (const [ours, theirs] of [
          [predicted, "noise_pred"],
          [next, "prev_sample"],
        ] as const) {
          const expected = recorded(`${name}.${theirs}`, block * S + step, N * P * C);
          if (expected) expectClose(ours, expected, tolerance, `${theirs} of block ${block}, step ${step}`);
        }
      },
      onCondition(block, condition) {
        const { M } = geometryOf(config);
        const expected = recorded(`${name}.condition`, block, N * M * config.width);
        if (expected) expectClose(condition, expected, tolerance, `condition of block ${block}`);
        conditions.push(block);
      },
    });
    expect(conditions).toEqual(config.clearCond ? [] : Array.from({ length: T }, (_, block) => block));
    expectClose(latents, golden[`${name}.latents`]!.data, tolerance, "latents");
    expectClose(imageOf(latents), nhwc(golden[`${name}.latent_image`] as GoldenTensor), tolerance, "latent image");
  });
});

/** The image of latents: blocks row by row in a square grid, pixels row-major inside a block. */
function imageOf(latents: Float32Array): Float32Array {
  const [grid, side] = [Math.sqrt(T), Math.sqrt(P)];
  const placed = new Float32Array(latents.length);
  for (let i = 0; i < latents.length; i++) {
    const [c, pixel, block, n] = [i % C, Math.floor(i / C) % P, Math.floor(i / C / P) % T, Math.floor(i / C / P / T)];
    const row = Math.floor(block / grid) * side + Math.floor(pixel / side);
    const column = (block % grid) * side + (pixel % side);
    placed[((n * grid * side + row) * grid * side + column) * C + c] = latents[i]!;
  }
  return placed;
}

test.each(Object.keys(META as object).filter((name) => /^headdim\d+$/.test(name)))(
  "Sampler makes the samples of the model %s",
  async (name) => {
    const tensors = tensorsOf(`${name}_forward.safetensors`);
    const config = configOf("default", META[name].model as object);
    const noise = tensors["initial_noise"] as GoldenTensor;
    const text = tensors["input_ids"]!.data as Int32Array;
    await using sampler = await Sampler.create(config, weightsOf(config, `${name}_model.safetensors`), {
      batchImages: noise.shape[0] ?? 0,
    });
    const latents = await sampler.sample(ddim(3), noise.data as Float32Array, { text });
    const tolerance = toleranceOf(META[name].float64_max_abs_diff["ddim3.latents"] as number);
    expectClose(latents, tensors["default.ddim3.latents"]!.data, tolerance, "ddim3.latents");
  },
);

test("classTokens() are those of Llama 3 for 0 to 999, and of the set's vocabulary", () => {
  const ids = goldenJson("llama3_class_ids.json", FOLDER) as {
    bos: number;
    end_of_text: number;
    class_token_ids: number[];
  };
  const { text } = preset("imagenet-256") as WithText;
  const labels = Array.from({ length: 1000 }, (_, label) => label);
  const expected = labels.flatMap((label) => [ids.bos, ids.class_token_ids[label]!]);
  expect([...classTokens(text, labels)]).toEqual(expected);
  expect([...classTokens({ ...text, tokens: 4 }, [7])]).toEqual([
    ids.end_of_text,
    ids.end_of_text,
    ids.bos,
    ids.class_token_ids[7]!,
  ]);
  const { bos_token_id: begin, tokenizer_pad_id: padding } = META.model;
  const classes = META.class_token_ids as number[];
  const own: TextConfig = { ...configOf("default").text, words: { begin, padding, classes }, classes: classes.length };
  const forwards = tensorsOf("forward.safetensors");
  const known = forwards["classes"]!.data as Int32Array;
  expect([...classTokens(own, [...known])]).toEqual([...forwards["input_ids"]!.data]);
});

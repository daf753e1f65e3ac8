import { join } from "node:path";
import { writeSafetensors, type TensorInput } from "@madformer/artifacts";
import { saveProgram } from "@madformer/engine";
import {
  classesOf,
  classTokens,
  coefficientsOf,
  COEFFICIENTS,
  geometryOf,
  hasText,
  noiseOfSeeds,
  ropeValues,
  Sampler,
  solverPlan,
  textOfSeeds,
  type MadformerConfig,
  type SolverName,
} from "@madformer/model";
import type { Weights } from "@madformer/optim";

/** Of weights that programs can have as constants: an .onnx file holds 2 GiB, and something is in it besides. */
export const MAX_PROGRAM_BYTES = 2 ** 31 - 2 ** 24;

/**
 * Writes the sampler's programs as .onnx files, which run wherever ONNX does, and the tables that they take as inputs:
 *
 *     time.onnx            timesteps -> what they add in the U-Net
 *     first.onnx           the first tokens -> condition of block 0
 *     context.onnx         a finished block -> condition, keys, values
 *     denoise.onnx         one step of the solver for one block
 *     text.onnx            the text of a class -> its keys and values; for a model with classes
 *     tables.safetensors   timesteps, coefficients, rotary tables, first tokens; as an example noise of the seeds
 *                          from 0 on, and the latents that come of it; the texts of all classes, and of the example
 *
 * Programs that a variant of the network does not need are not written.
 *
 * @param weights Borrowed.
 * @param folder Exists.
 * @returns Names of the programs, sorted.
 */
export async function saveSamplerPrograms(
  model: MadformerConfig,
  weights: Weights,
  { images, solver, steps, signal }: { images: number; solver: SolverName; steps: number; signal: AbortSignal },
  folder: string,
): Promise<string[]> {
  const { T, P, M, D } = geometryOf(model);
  const plan = solverPlan(solver, steps);
  const latentShape = [images, T, P, model.latentChannels];
  const seeds = Array.from({ length: images }, (_, seed) => seed);
  const noise = noiseOfSeeds(model, seeds);
  const texts = textOfSeeds(model, seeds);
  await using sampler = await Sampler.create(model, weights, { batchImages: images, programs: "shared" });
  const nameOf = (image: number): string => `image ${image} of the example in tables.safetensors`;
  const latents = await sampler.sample(plan, noise, { signal, nameOf, ...texts });

  const names: string[] = [];
  for (const [title, program] of await sampler.compiled()) {
    const name = title.split(" ")[0] as string; // "time 26" has the timesteps of one plan
    await saveProgram(program, join(folder, `${name}.onnx`));
    names.push(name);
  }
  const clean = model.quirks.cleanTimestep === "zero" ? 0 : (plan.steps.at(-1)?.timestep ?? 0);
  const { cos, sin } = ropeValues(model);
  const tables: Record<string, TensorInput> = {
    timesteps: { shape: [steps + 1], data: Float32Array.from([...plan.steps.map((s) => s.timestep), clean]) },
    coefficients: {
      shape: [steps, COEFFICIENTS.length],
      data: Float32Array.from(plan.steps.flatMap((step) => [...coefficientsOf(step)])),
    },
    "rope.cos": { shape: [T, M, D], data: cos },
    "rope.sin": { shape: [T, M, D], data: sin },
    boi: { shape: [1, M, model.width], data: weights["boi_block"] as Float32Array },
    "example.noise": { shape: latentShape, data: noise },
    "example.latents": { shape: latentShape, data: latents },
    ...(hasText(model)
      ? {
          "text.classes": {
            shape: [model.text.classes, model.text.tokens],
            data: classTokens(model.text, classesOf(model)),
          },
          "example.text": { shape: [images, model.text.tokens], data: texts.text! },
        }
      : {}),
  };
  await writeSafetensors(join(folder, "tables.safetensors"), tables, { solver: plan.name });
  return names.sort();
}

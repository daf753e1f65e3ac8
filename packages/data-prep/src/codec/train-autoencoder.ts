import { DataError } from "@madformer/artifacts";
import { compile, normal, permutationAt, randomKey } from "@madformer/engine";
import {
  autoencoderSpecs,
  autoencoderTrainSignature,
  autoencoderTrainStep,
  initialize,
  learningRateFactor,
  stepScalars,
  type AutoencoderConfig,
  type AutoencoderLossConfig,
  type OptimizerConfig,
} from "@madformer/model";
import type { StageContext } from "@madformer/stage";
import { readCheckpoint, writeCheckpoint } from "./checkpoint.js";
import type { HeldImages } from "./images.js";

/** How an autoencoder is trained. */
export interface AutoencoderTraining {
  readonly config: AutoencoderConfig;
  readonly loss: AutoencoderLossConfig;
  readonly optimizer: OptimizerConfig;
  readonly seed: number;
  readonly steps: number;
  readonly batchImages: number;
  /** Of the first steps, which warm up to it; a cosine leads down to 1 % of it. */
  readonly learningRate: number;
  /** Share of the steps that warm up, in [0, 1]. */
  readonly warmup: number;
  /** Largest decay of the moving average, which gives the weights in the end. */
  readonly emaDecay: number;
  /** Steps between checkpoints. */
  readonly checkpointSteps: number;
}

/** What is reported of each step, beside its learning rate. */
const REPORTED = ["loss", "l1", "l2", "gradient", "kl", "gradNorm"] as const;

/**
 * Trains an autoencoder on images.
 *
 * Everything random is a function of (seed, step): image j of step k is position k·B + j of one shuffled epoch after
 * another. So a run that was killed goes on from its last checkpoint in `out` and ends with the same bits.
 *
 * Writes <out>/losses.jsonl; <out>/tmp/checkpoint.safetensors, to go on from
 *
 * @returns The moving average of the parameters.
 * @throws {DataError} If a loss or a gradient is not finite: with the step, and the step of the last checkpoint.
 *   {unknown} `signal.reason` when aborted, after a checkpoint.
 */
export async function trainAutoencoder(
  training: AutoencoderTraining,
  images: HeldImages,
  context: StageContext,
): Promise<Record<string, Float32Array>> {
  const { config, loss, optimizer, seed, steps, batchImages, emaDecay, checkpointSteps } = training;
  const { files, signal, log } = context;
  const params = initialize(autoencoderSpecs(config), seed);
  const signature = autoencoderTrainSignature(config, { batchImages, side: images.side });
  await using program = await compile(autoencoderTrainStep(config, loss, optimizer), signature, {
    name: "autoencoder",
    initialState: { params, ema: params },
  });
  const found = await readCheckpoint(context, program, REPORTED.length);
  if (found) log.info(`going on after step ${found.step}`);
  const told = new Float32Array(steps * REPORTED.length);
  told.set((found?.told ?? new Float32Array()).subarray(0, told.length));

  let saved = found?.step ?? 0;
  const save = async (step: number): Promise<void> => {
    if (step === saved) return;
    await writeCheckpoint(context, program, { step, told: told.subarray(0, step * REPORTED.length) });
    await files.write("losses.jsonl", lines(training, told, step));
    saved = step;
  };
  const noiseSize = signature.inputs.noise.shape.reduce((a, b) => a * b, 1);
  let batch = await batchOf(images, training, saved);
  for (let step = saved; step < steps; step++) {
    if (signal.aborted) await save(step);
    signal.throwIfAborted();
    const scalars = stepScalars(
      optimizer,
      step + 1,
      learningRateAt(training, step),
      Math.min(emaDecay, (step + 1) / (step + 10)), // of a short run no first values are left
    );
    const noise = normal(randomKey(seed, "autoencoder noise", [step]), { size: noiseSize });
    // The next images are decoded while this step runs.
    const [outputs, next] = await Promise.all([
      program.run({ images: batch, noise, scalars }),
      step + 1 < steps ? batchOf(images, training, step + 1) : batch,
    ]);
    batch = next;
    const values = REPORTED.map((name) => (outputs[name] as Float32Array)[0] as number);
    const bad = REPORTED.find((_, i) => !Number.isFinite(values[i]));
    if (bad)
      throw new DataError(
        `Cannot go on training the autoencoder: ${bad} is ${values[REPORTED.indexOf(bad)]} at step ${step + 1}, ` +
          `expected a number; ${saved > 0 ? `the last good state is that of step ${saved}` : "no state was saved yet"}`,
      );
    told.set(values, step * REPORTED.length);
    const shown = Object.fromEntries(
      REPORTED.slice(0, 3).map((name, i) => [name, (values[i] as number).toPrecision(4)]),
    );
    log.progress("steps", step + 1, steps, shown);
    if ((step + 1) % checkpointSteps === 0 || step + 1 === steps) await save(step + 1);
  }
  await files.write("losses.jsonl", lines(training, told, steps));
  const { ema } = (await program.state.readAll()) as { ema: Record<string, Float32Array> };
  return ema;
}

const learningRateAt = ({ learningRate, warmup, steps }: AutoencoderTraining, step: number): number =>
  learningRate * learningRateFactor({ kind: "cosine", warmup }, step, steps, "first-step");

function batchOf(images: HeldImages, training: AutoencoderTraining, step: number): Promise<Float32Array> {
  return images.batch(imagesOfStep(training, images.length, step));
}

/** Which of n images a step trains on: the next ones of an order in which each epoch visits all of them. */
export function imagesOfStep(
  { seed, batchImages }: Pick<AutoencoderTraining, "seed" | "batchImages">,
  n: number,
  step: number,
): number[] {
  return Array.from({ length: batchImages }, (_, j) => {
    const position = step * batchImages + j;
    return permutationAt(randomKey(seed, "autoencoder order", [Math.floor(position / n)]), n, position % n);
  });
}

/** A line for each step. */
function lines(training: AutoencoderTraining, told: Float32Array, steps: number): string {
  return Array.from({ length: steps }, (_, step) => {
    const values = REPORTED.map((name, i) => [
      name,
      Number((told[step * REPORTED.length + i] as number).toPrecision(7)),
    ]);
    const lr = Number(learningRateAt(training, step).toPrecision(7));
    return `${JSON.stringify({ step: step + 1, ...Object.fromEntries(values), lr })}\n`;
  }).join("");
}

import { DataError } from "@madformer/artifacts";
import { normal, permutationAt, randomKey } from "@madformer/engine";
import {
  AUTOENCODER_TERMS,
  autoencoderBatchSpecs,
  autoencoderLoss,
  autoencoderSpecs,
  initialize,
  type AutoencoderConfig,
  type AutoencoderLossConfig,
} from "@madformer/model";
import {
  emaDecay,
  learningRateFactor,
  stepScalars,
  Trainer,
  trainSteps,
  type OptimizerConfig,
  type Weights,
} from "@madformer/optim";
import { findProgress, keepProgress, type StageContext } from "@madformer/stage";
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
const REPORTED = ["loss", ...AUTOENCODER_TERMS, "gradNorm"] as const;

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
): Promise<Weights> {
  const { config, loss, optimizer, seed, steps, batchImages, checkpointSteps } = training;
  const { files, signal, log } = context;
  const batch = autoencoderBatchSpecs(config, { batchImages, side: images.side });
  const params = initialize(autoencoderSpecs(config), seed);
  await using trainer = await Trainer.create(
    {
      name: "autoencoder",
      parameters: autoencoderSpecs(config),
      batch,
      loss: (params, batch) => autoencoderLoss(params, config, batch, loss),
      optimizer,
    },
    { params, ema: params },
  );
  const work = { width: REPORTED.length };
  const found = await findProgress(context, trainer.state, work);
  if (found) log.info(`going on after step ${found.step}`);
  const told = new Float32Array(steps * REPORTED.length);
  told.set((found?.told ?? new Float32Array()).subarray(0, told.length));

  let saved = found?.step ?? 0;
  const save = async (step: number): Promise<void> => {
    if (step === saved) return;
    await keepProgress(context, trainer.state, { step, told: told.subarray(0, step * REPORTED.length) }, work);
    await files.write("losses.jsonl", lines(training, told, step));
    saved = step;
  };
  // Of a short run no first values are left in the average.
  const ema = { kind: "constant", decay: training.emaDecay, warmup: true } as const;
  const noiseSize = batch.noise.shape.reduce((a, b) => a * b, 1);
  await trainSteps({
    ...{ done: saved, steps, signal },
    batch: async (step) => ({
      images: await images.batch(imagesOfStep(training, images.length, step)),
      noise: normal(randomKey(seed, "autoencoder noise", [step]), { size: noiseSize }),
    }),
    scalars: (step) => stepScalars(optimizer, step, learningRateAt(training, step - 1), emaDecay(ema, step - 1)),
    run: (batch, scalars) => trainer.run(batch, scalars),
    diverged: (step, name, value) =>
      new DataError(
        `Cannot go on training the autoencoder: ${name} is ${value} at step ${step}, ` +
          `expected a number; ${saved > 0 ? `the last good state is that of step ${saved}` : "no state was saved yet"}`,
      ),
    after: async (step, measures) => {
      const values = REPORTED.map((name) => measures[name]);
      told.set(values, (step - 1) * REPORTED.length);
      const shown = REPORTED.slice(0, 3).map((name) => [name, measures[name].toPrecision(4)] as const);
      log.progress("steps", step, steps, Object.fromEntries(shown));
      if (step % checkpointSteps === 0 || step === steps) await save(step);
    },
    stopped: save,
  });
  await files.write("losses.jsonl", lines(training, told, steps));
  return await trainer.part("ema");
}

const learningRateAt = ({ learningRate, warmup, steps }: AutoencoderTraining, step: number): number =>
  learningRate * learningRateFactor({ kind: "cosine", warmup }, step, steps, "first-step");

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

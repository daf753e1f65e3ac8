import { canonicalJson, sha256 } from "@madformer/artifacts";
import { compile, NonFiniteError, type SessionOptions } from "@madformer/engine";
import { trainSteps } from "@madformer/optim";
import { findProgress, keepProgress, type StageContext } from "@madformer/stage";
import { rateShare, type FacesNetConfig } from "./config.js";
import { arraysOf, batchOf, type FacesData, type Split } from "./data.js";
import { sizeOf, type FacesNet, type FacesNetDescription } from "./file.js";
import { initialWeights } from "./network.js";
import { facesNetScalars, facesNetSignature, facesNetStep, finishedWeights } from "./train-step.js";

export interface TrainOptions {
  /** The stage's folder and files: the state is kept there from time to time, and found again. */
  readonly place: Pick<StageContext, "out" | "files">;
  /** When it is aborted the state is kept, then its reason thrown. */
  readonly signal: AbortSignal;
  readonly progress?: (step: number, loss: number) => void;
  /** Called with the step that a kept state goes on from. */
  readonly resumed?: (step: number) => void;
  readonly session?: SessionOptions;
}

/** A trained network, and the loss of each step. */
export interface Trained {
  readonly net: FacesNet;
  readonly losses: Float32Array;
}

/**
 * Trains the network. Images and rate of a step are functions of the config and the step alone, and the state is kept
 * whole, so that a run that was cut off anywhere goes on to the same weights, bit for bit. It is the caller's to
 * remove.
 *
 * @throws {Error} If the loss is no longer finite, with the step.
 */
export async function trainFacesNet(
  config: FacesNetConfig,
  data: FacesData,
  split: Split,
  options: TrainOptions,
): Promise<Trained> {
  const { labels, sidePixels } = data;
  const { dims, steps, batchImages, seed } = config;
  const description: FacesNetDescription = { format: 1, kind: "faces-net", sidePixels, dims, labels: [...labels] };
  const size = sizeOf(description);
  const work = { width: 1, identity: sha256(canonicalJson({ config, description, pixels: sha256(data.pixels) })) };

  await using program = await compile(facesNetStep(size, labels), facesNetSignature(size, batchImages), {
    name: "faces-net-training",
    initialState: { params: initialWeights(size, seed) },
    checkFinite: "all",
    ...(options.session === undefined ? {} : { session: options.session }),
  });
  const losses = new Float32Array(steps);

  const found = await findProgress(options.place, program.state, work);
  let saved = found?.step ?? 0;
  if (found) losses.set(found.told);
  if (found) options.resumed?.(found.step);
  const save = async (step: number): Promise<void> => {
    if (step === saved) return;
    await keepProgress(options.place, program.state, { step, told: losses.subarray(0, step) }, work);
    saved = step;
  };
  const rateOf = (step: number): number => config.learningRate * rateShare(step - 1, steps);
  const diverged = (step: number, tensor: string, options?: ErrorOptions): Error =>
    new Error(
      `Cannot train the network: ${tensor} is no longer finite at step ${step} of ${steps}, at a learning rate of ${rateOf(step)}`,
      options,
    );
  await trainSteps({
    ...{ done: saved, steps, signal: options.signal },
    batch: async (step) => arraysOf(data, batchOf(split.train, batchImages, seed, step)),
    scalars: (step) => facesNetScalars(step, rateOf(step), config.weightDecay),
    run: async (batch, scalars, step) => {
      try {
        const { loss } = await program.run({ ...batch, scalars: scalars as Float32Array });
        return { loss: loss[0]! };
      } catch (cause) {
        throw cause instanceof NonFiniteError ? diverged(step, cause.tensor, { cause }) : cause;
      }
    },
    diverged: (step, name) => diverged(step, name),
    after: async (step, { loss }) => {
      losses[step - 1] = loss;
      options.progress?.(step, loss);
      if (step % config.checkpointSteps === 0 && step < steps) await save(step);
    },
    stopped: save,
  });

  const { params, running } = await program.state.readAll();
  return { net: { description, weights: finishedWeights(dims, params, running) }, losses };
}

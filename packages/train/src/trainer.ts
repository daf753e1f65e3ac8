import {
  batchSpecs,
  initialize,
  madformerSpecs,
  termNames,
  trainedSpecs,
  trainingLoss,
  type TermName,
} from "@madformer/model";
import { Trainer, type FirstState, type Measures, type TrainingState, type Weights } from "@madformer/optim";
import type { Batch } from "./batch.js";
import type { TrainConfig } from "./config.js";

/**
 * What is measured of a step: losses, and the norm of the gradients before clipping; the text loss where there is one.
 */
export type Measured = Measures<Exclude<TermName, "text">> & { readonly text?: number };

/** The measures that a run has, in the order of its lines. */
export function measuresOf({ model, loss }: TrainConfig): readonly (keyof Measured)[] {
  return ["loss", ...termNames(model, loss), "gradNorm"];
}

/** The programs of MADFormer's training step, and the state that they change. */
export async function trainerOf(config: TrainConfig, first: FirstState): Promise<MadformerTrainer> {
  const { model, loss, optimizer, batchImages, accumulate, recompute } = config;
  const { moved, still } = apart(config, first);
  const trainer = await Trainer.create(
    {
      name: "training",
      parameters: trainedSpecs(model, loss),
      batch: batchSpecs(model, batchImages),
      loss: (params, batch) => trainingLoss(params, model, batch, loss, recompute),
      optimizer,
      accumulate,
    },
    moved,
  );
  return new MadformerTrainer(trainer, still);
}

/** What `Trainer` does here. */
type Inner = AsyncDisposable & {
  run(batch: Batch, scalars: Float32Array | undefined): Promise<Measured | undefined>;
  read(part: keyof TrainingState, name: string): Promise<Float32Array>;
  part(part: keyof TrainingState): Promise<Weights>;
};

/**
 * A `Trainer` beside whose parameters there may be some that are not trained, and stay as they are (`trainedSpecs`).
 */
export class MadformerTrainer implements AsyncDisposable {
  constructor(
    private readonly trainer: Inner,
    private readonly still: Pick<FirstState, "params" | "ema">,
  ) {}

  /** As `Trainer` does. */
  run(batch: Batch, scalars: Float32Array | undefined): Promise<Measured | undefined> {
    return this.trainer.run(batch, scalars);
  }

  /** A copy of one tensor of the state; moments of what is not trained are 0. */
  async read(part: keyof TrainingState, name: string): Promise<Float32Array> {
    const still = this.still.params[name];
    if (!still) return await this.trainer.read(part, name);
    if (part === "params") return still;
    return part === "ema" ? (this.still.ema[name] ?? still) : new Float32Array(still.length);
  }

  /** Copies of a part of the state. */
  async part(part: keyof TrainingState): Promise<Weights> {
    const weights = await this.trainer.part(part);
    for (const name of Object.keys(this.still.params)) weights[name] = await this.read(part, name);
    return weights;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.trainer[Symbol.asyncDispose]();
  }
}

/** What training moves of a state, and what stays. */
function apart({ model, loss }: TrainConfig, { params, ema, m, v }: FirstState) {
  const trained = trainedSpecs(model, loss);
  const part = (weights: Weights, moves: boolean): Weights =>
    Object.fromEntries(Object.entries(weights).filter(([name]) => name in trained === moves));
  const moved: FirstState = {
    params: part(params, true),
    ema: part(ema, true),
    ...(m ? { m: part(m, true) } : {}),
    ...(v ? { v: part(v, true) } : {}),
  };
  return { moved, still: { params: part(params, false), ema: part(ema, false) } };
}

/** Where training begins if it goes on from nothing: with weights that are drawn by the seed. */
export function firstWeights({ model, seed }: TrainConfig): FirstState {
  const first = initialize(madformerSpecs(model), seed);
  return { params: first, ema: first };
}

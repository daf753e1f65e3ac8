import { batchSpecs, initialize, madformerSpecs, TERM_NAMES, trainingLoss, type TermName } from "@madformer/model";
import { Trainer, type FirstState, type Measures } from "@madformer/optim";
import type { TrainConfig } from "./config.js";

/** What is measured of a step: losses, and the norm of the gradients before clipping. */
export const MEASURES = ["loss", ...TERM_NAMES, "gradNorm"] as const;
export type Measured = Measures<TermName>;

/** The programs of MADFormer's training step, and the state that they change. */
export function trainerOf({ model, loss, optimizer, batchImages, accumulate }: TrainConfig, first: FirstState) {
  return Trainer.create(
    {
      name: "training",
      parameters: madformerSpecs(model),
      batch: batchSpecs(model, batchImages),
      loss: (params, batch) => trainingLoss(params, model, batch, loss),
      optimizer,
      accumulate,
    },
    first,
  );
}

/** Where training begins if it goes on from nothing: with weights that are drawn by the seed. */
export function firstWeights({ model, seed }: TrainConfig): FirstState {
  const first = initialize(madformerSpecs(model), seed);
  return { params: first, ema: first };
}

/**
 * Training: from latents to weights, killed and resumed at will, and on to files that others read.
 *
 * Reading order: `config.ts` (what decides a run), `plan.ts` (what happens when), `batch.ts` (what a step sees),
 * `trainer.ts` (the programs of a step), `loop.ts` (the training loop), `checkpoint.ts` (what it goes on from),
 * `start.ts` (what it goes on from that another run made), `stages/` (both stages).
 *
 * Letters are those of `@madformer/model`: N images, T blocks, P latent pixels of a block, M tokens of a block.
 */
export { TrainConfig, TrainSettings } from "./config.js";
export { planOf, stepName, type Plan } from "./plan.js";
export { batchOf, imageAt, type Batch, type LatentSource } from "./batch.js";
export { DivergedError, train, type LossLine, type Start, type Trained } from "./loop.js";
export { openParent, type Parent } from "./start.js";
export { sampleGrid, type Decode } from "./sample-grid.js";
export {
  CheckpointError,
  checkpointSteps,
  readCheckpoint,
  writeCheckpoint,
  type Checkpoint,
  type Part,
} from "./checkpoint.js";
export { Journal } from "./journal.js";
export { EventWriter } from "./tensorboard.js";
export { torchCheckpoint, type TrainedRun } from "./export-torch.js";
export { saveSamplerPrograms } from "./export-programs.js";
export { stage as trainStage } from "./stages/train.js";
export { ExportConfig, stage as exportStage } from "./stages/export.js";

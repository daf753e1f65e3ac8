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
export { batchOf, type Batch, type LatentSource } from "./batch.js";
export { DivergedError, train } from "./loop.js";
export { sampleGrid, type Decode } from "./sample-grid.js";
export { CheckpointError, readCheckpoint, type Checkpoint, type Part } from "./checkpoint.js";
export { stage as trainStage } from "./stages/train.js";
export { ExportConfig, stage as exportStage } from "./stages/export.js";

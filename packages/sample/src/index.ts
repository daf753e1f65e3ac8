/**
 * Checkpoints to images.
 *
 * Reading order: `stages/sample.ts` (the stage), `checkpoint.ts` (what it reads), `sample.ts` (seeds to images),
 * `order.ts` (how an image came into being).
 *
 * Letters are those of `@madformer/model`: N images, T blocks, P latent pixels of a block.
 */
export { stage as sampleStage } from "./stages/sample.js";
export { SampleConfig } from "./config.js";
export { openTrainedModel, type TrainedModel, type KeptWeights, type Weights } from "./checkpoint.js";
export { ImageSampler, type SampledImage } from "./sample.js";
export { chosenClasses, classNamesOf, sampleLabels, type SampleLabels } from "./classes.js";

/**
 * Sources of images -> image shards -> latents.
 */
export { faceAttributes } from "./faces/attributes.js";
export { renderFace, renderFacePixels } from "./faces/render.js";
export { stage as datasetStage, DatasetConfig, DatasetSource } from "./stages/dataset.js";
export { stage as shardsStage, ShardsConfig } from "./stages/shards.js";
export { stage as vaeStage, VaeConfig } from "./stages/vae.js";
export { stage as importStage, ImportConfig } from "./stages/import.js";
export { stage as latentsStage, LatentsConfig } from "./stages/latents.js";

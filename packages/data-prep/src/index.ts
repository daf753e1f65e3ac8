/**
 * Sources of images -> image shards -> latents.
 */
export {
  faceAttributes,
  FACE_ATTRIBUTES,
  type ChoiceAttribute,
  type FaceAttributeName,
  type FaceAttributes,
  type RangeAttribute,
} from "./faces/attributes.js";
export { drawFace } from "./faces/draw.js";
export { FACE_QUALITY, renderFace, renderFacePixels } from "./faces/render.js";
export { FaceRecord, faceRecord } from "./faces/record.js";
export { attributeTargets, FACE_CHOICES, FACE_RANGES, type FaceTargets } from "./faces/targets.js";
export { writeFaces, type WriteFacesOptions } from "./faces/write.js";
export { shardName, type WebDatasetSample } from "./webdataset/sample.js";
export { readSamples, readWebDataset, type ReadWebDatasetOptions } from "./webdataset/read.js";
export { writeShard } from "./webdataset/write.js";
export { stage as datasetStage, DatasetConfig, DatasetSource } from "./stages/dataset.js";
export { stage as shardsStage, ShardsConfig } from "./stages/shards.js";
export { RESIZES, type Resize } from "./shards/square.js";
export { SHARD_FORMATS, type ShardFormat } from "./shards/sample.js";
export { stage as vaeStage, VaeConfig } from "./stages/vae.js";
export { stage as importStage, ImportConfig } from "./stages/import.js";
export { stage as latentsStage, LatentsConfig } from "./stages/latents.js";

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

import { spec } from "@madformer/engine";
import { ShapeError } from "../shape.js";
import { downsamplingFactor, type AutoencoderConfig } from "./config.js";

/** The smallest side with neighbours at half resolution. */
const MIN_SIDE = 4;

/**
 * Shapes of what one run of an autoencoder sees in training: an `AutoencoderBatch`.
 *
 * @throws {ShapeError} If the side is no multiple of the downsampling factor.
 */
export function autoencoderBatchSpecs(
  config: AutoencoderConfig,
  { batchImages, side }: { readonly batchImages: number; readonly side: number },
) {
  const factor = downsamplingFactor(config);
  if (side % factor !== 0 || side < MIN_SIDE)
    throw new ShapeError(
      `The autoencoder's images have side ${side}, expected a multiple of ${factor} from ${MIN_SIDE} on`,
    );
  return {
    images: spec([batchImages, side, side, config.imageChannels] as const),
    noise: spec([batchImages, side / factor, side / factor, config.latentChannels] as const),
  };
}

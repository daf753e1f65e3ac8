import * as tf from "@tensorflow/tfjs-core";

/**
 * Bilinear resize without antialiasing, also where the image shrinks: each pixel mixes the two nearest rows and
 * columns. With `src` the place of an output pixel in the input,
 *
 *     src = max(0, (dst + 1/2) · in / out - 1/2)
 *
 * Source: PyTorch's `interpolate(mode="bilinear", align_corners=False, antialias=False)`, as pytorch-fid calls it (spec
 * 15).
 *
 * @param images (N, height, width, C) float32. Borrowed.
 * @returns (N, size.height, size.width, C) float32. New, owned by the caller.
 */
export function resizeBilinear(
  images: tf.Tensor4D,
  size: { readonly height: number; readonly width: number },
): tf.Tensor4D {
  return tf.image.resizeBilinear(images, [size.height, size.width], false, true);
}

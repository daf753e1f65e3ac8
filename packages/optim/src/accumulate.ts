import * as tf from "@tensorflow/tfjs-core";
import { lossGradients, type TensorsByName } from "./gradients.js";
import type { Losses } from "./loss.js";

/**
 * Gradient accumulation: a step over a batch that is too large for one run. This runs once for each part of the batch
 * and adds its share of the gradients to a sum, of which `clippedUpdate` then makes one update:
 *
 *     sum' = sum + share · g        share = 1 / parts: the mean over equal parts is that of the whole batch
 *
 * Departs from the released code, which keeps the gradients of the last part alone (spec section 16.5).
 *
 * @param lossOf As `lossGradients` takes it.
 * @param share What a part's gradients are multiplied with.
 * @returns The next sum, and as outputs the losses of the part.
 */
export function addGradients<Term extends string>(
  { params, sum }: { readonly params: TensorsByName; readonly sum: TensorsByName },
  lossOf: (params: TensorsByName) => Losses<Term>,
  share: number,
) {
  const { losses, gradients } = lossGradients(params, lossOf);
  // Where there is no gradient the sum stays the zero that it is.
  const next = Object.fromEntries(
    Object.entries(gradients).flatMap(([name, gradient]) =>
      gradient ? [[name, tf.add(sum[name] as tf.Tensor, tf.mul(gradient, share))]] : [],
    ),
  );
  return { state: { sum: next }, outputs: losses };
}

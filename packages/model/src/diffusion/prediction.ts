import * as tf from "@tensorflow/tfjs-core";
import { noiseSchedule } from "./noise-schedule.js";

/**
 * What the network's output stands for, with x = sqrt(ᾱ) x₀ + sqrt(1 - ᾱ) ε:
 *
 *     epsilon   ε, the noise                                    Ho et al. 2020, arXiv:2006.11239; the released code
 *     x         x₀, the data                                    Li and He 2025, arXiv:2511.13720
 *     v         sqrt(ᾱ) ε - sqrt(1 - ᾱ) x₀                      Salimans and Ho 2022, arXiv:2202.00512, appendix D
 */
export const PREDICTIONS = ["epsilon", "x", "v"] as const;
export type Prediction = (typeof PREDICTIONS)[number];

/** What data and noise are multiplied with in x: `alpha` = sqrt(ᾱ) and `sigma` = sqrt(1 - ᾱ). */
export interface Factors {
  readonly alpha: tf.Tensor;
  readonly sigma: tf.Tensor;
}

/**
 * What the network should say, for the loss.
 *
 * @param data Any shape, float32: x₀.
 * @param noise Like data: ε.
 * @param factors Shapes that broadcast to data's.
 * @returns Like data; for `epsilon` and `x` one of the two itself.
 */
export function predictionTarget<T extends tf.Tensor>(
  prediction: Prediction,
  data: T,
  noise: T,
  { alpha, sigma }: Factors,
): T {
  switch (prediction) {
    case "epsilon":
      return noise;
    case "x":
      return data;
    case "v":
      return tf.sub(tf.mul(alpha, noise), tf.mul(sigma, data));
  }
}

/**
 * The noise and the data that the network's output means, for a solver.
 *
 *     epsilon   ε = output                      x₀ = (x - sqrt(1 - ᾱ) ε) / sqrt(ᾱ)
 *     x         x₀ = output                     ε = (x - sqrt(ᾱ) x₀) / sqrt(1 - ᾱ)
 *     v         ε = sqrt(ᾱ) v + sqrt(1 - ᾱ) x   x₀ = sqrt(ᾱ) x - sqrt(1 - ᾱ) v
 *
 * @param x Any shape, float32: the noised data.
 * @param output Like x: what the network predicts.
 * @param factors Scalars, both above 0.
 * @returns Both like x.
 */
export function noiseAndData<T extends tf.Tensor>(
  prediction: Prediction,
  x: T,
  output: T,
  { alpha, sigma }: Factors,
): { readonly noise: T; readonly data: T } {
  switch (prediction) {
    case "epsilon":
      return { noise: output, data: tf.div(tf.sub(x, tf.mul(sigma, output)), alpha) };
    case "x":
      return { noise: tf.div(tf.sub(x, tf.mul(alpha, output)), sigma), data: output };
    case "v":
      return {
        noise: tf.add(tf.mul(alpha, output), tf.mul(sigma, x)),
        data: tf.sub(tf.mul(alpha, x), tf.mul(sigma, output)),
      };
  }
}

/** How a loss weighs timesteps: the weight of the squared error of x₀, by SNR = ᾱ / (1 - ᾱ), never above `most`. */
export interface Weighting {
  readonly by: "snr" | "snr+1";
  readonly most?: number | undefined;
}

/**
 * Weights of the squared error of the network's output at each timestep, such that the error of x₀, which is another
 * multiple of it for each kind of prediction, has the weight that is asked for:
 *
 *     w(x₀) = min(SNR, most) or min(SNR + 1, most)         w(ε) = w(x₀) / SNR         w(v) = w(x₀) / (SNR + 1)
 *
 * Source: Hang et al. 2023, arXiv:2303.09556 (Min-SNR: `snr` with most 5); Salimans and Ho 2022, arXiv:2202.00512,
 * section 4 (SNR + 1).
 *
 * @returns (1000) float32.
 */
export function lossWeights(prediction: Prediction, { by, most = Infinity }: Weighting): Float32Array {
  return noiseSchedule().alphasCumprod.map((abar) => {
    const snr = abar / (1 - abar);
    const ofData = Math.min(by === "snr" ? snr : snr + 1, most);
    return ofData / { epsilon: snr, x: 1, v: snr + 1 }[prediction];
  });
}

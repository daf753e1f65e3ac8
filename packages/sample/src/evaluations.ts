import type { MadformerConfig } from "@madformer/model";

/** How often the network runs for an image. */
export interface Evaluations {
  /** Runs of the denoising part: NFE. */
  readonly nfe: number;
  /** Runs of a single layer on the tokens of a single block that is not finished yet. */
  readonly layerRuns: number;
}

/**
 * What an image costs, by solver steps S, blocks T, autoregressive layers N and diffusion layers d:
 *
 *     nfe = T S
 *     layerRuns = T (N + d S)
 *
 * Models with other splits of the same layers cost the same where `layerRuns` is the same, not where `nfe` is: an
 * autoregressive layer runs once per block. Not counted, because no split changes them: the U-Net of each step, and
 * finished blocks, which go through all layers once. Source: arXiv:2506.07999, section 3.3.
 */
export function evaluationsOf(
  { blocks, arLayers, diffusionLayers, clearCond }: MadformerConfig,
  steps: number,
): Evaluations {
  const once = clearCond ? 0 : arLayers; // nothing takes their output
  return { nfe: blocks * steps, layerRuns: blocks * (once + diffusionLayers * steps) };
}

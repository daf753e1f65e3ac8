import { cosineFactor, warmupFactor } from "@madformer/optim";
import { z } from "zod";

/** How the network that scores drawn faces is trained. */
export const FacesNetConfig = z
  .strictObject({
    seed: z
      .int()
      .nonnegative()
      .default(0)
      .describe("Seed of the first weights, the data order and the held-out images"),
    steps: z.int().positive().default(1000).describe("Updates of the weights"),
    batchImages: z.int().positive().max(4096).default(16).describe("Images of one update"),
    learningRate: z
      .number()
      .positive()
      .default(4e-3)
      .describe("Largest rate of AdamW; rises for 5 % of the steps, then falls to 0"),
    weightDecay: z.number().nonnegative().default(1e-4).describe("Decoupled decay of the weights, times the rate"),
    dims: z.int().min(64).max(128).multipleOf(4).default(128).describe("Channels of a feature"),
    limitImages: z
      .int()
      .min(2)
      .max(100_000)
      .default(10_000)
      .describe("Images that are read at most; all lie in memory"),
    heldOut: z
      .number()
      .gt(0)
      .lt(1)
      .default(0.1)
      .describe("Share of the images that is not learned from but asked about"),
    checkpointSteps: z
      .int()
      .positive()
      .default(100)
      .describe("Updates between two states that a killed run resumes from"),
  })
  .readonly();
export type FacesNetConfig = z.infer<typeof FacesNetConfig>;

/**
 * Rate of update `step` of `steps` (from 0), as a share of the largest: rises over the first 5 %, then falls to 0 as
 * half a cosine.
 */
export function rateShare(step: number, steps: number): number {
  const warmup = Math.ceil(0.05 * steps);
  return step < warmup ? warmupFactor(step, warmup, "first-step") : cosineFactor(step, warmup, steps, 0);
}

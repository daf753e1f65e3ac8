import { SOLVER_NAMES } from "@madformer/model";
import { z } from "zod";
import { parseSeeds } from "./seeds.js";

const Seeds = z
  .string()
  .refine((text) => isSeeds(text), { error: "expected seeds such as 0-63,100" })
  .describe("Which images: a seed fixes its image, whatever else is sampled with it");

const Checkpoints = z
  .string()
  .regex(/^(all|(final|\d{1,12})(,(final|\d{1,12}))*)$/, {
    error: 'expected "final", "all", or training steps such as 1000,2000',
  })
  .describe(
    "The final checkpoint (final), every one that training kept (all), or those of some training steps, such as 1000,2000; " +
      "each with the same seeds",
  );

/** Settings of the stage `sample`. */
export const SampleConfig = z
  .strictObject({
    seeds: Seeds.default("0-63"),
    solver: z.enum(SOLVER_NAMES).default(SOLVER_NAMES[0]).describe("How noise becomes an image"),
    classes: z
      .string()
      .min(1)
      .default("all")
      .describe(
        "Which classes images are of, such as 207,360 or 0-9, or by name where the data has names; they take turns by seed, so that " +
          "seeds one after another have equally many of each",
      ),
    steps: z.int().min(1).max(1000).default(25).describe("Denoising steps per block"),
    otherSteps: z
      .string()
      .regex(/^(\d{1,4}(,\d{1,4})*)?$/, "expected numbers of steps such as 1,2,4")
      .refine((text) => otherSteps(text).every((steps) => steps >= 1 && steps <= 1000), "expected 1 to 1000 steps")
      .default("")
      .describe(
        "Further numbers of steps, such as 1,2,4, at which the newest checkpoint is sampled from the same seeds",
      ),
    repeats: z
      .int()
      .min(1)
      .max(100)
      .default(1)
      .describe("Sets of as many seeds of the newest checkpoint: each further one follows on the highest seed before"),
    clip: z.boolean().default(false).describe("With ddim: clip predicted latents to [-1, 1], as the reference does"),
    weights: z.enum(["ema", "raw"]).default("ema").describe("Averaged weights, or those of the last training step"),
    checkpoints: Checkpoints.default("final"),
    batchImages: z.int().min(1).max(4096).default(16).describe("Images sampled together; changes speed, not images"),
    gridImages: z.int().min(1).max(1024).default(64).describe("Images in grid.png, the first of the seeds"),
    orderImages: z.int().min(0).max(64).default(6).describe("Images in order.png, which shows their blocks appear"),
    npz: z.boolean().default(true).describe("Also write samples.npz: arr_0, uint8 NHWC, as ADM's evaluation reads it"),
  })
  .readonly();
export type SampleConfig = z.infer<typeof SampleConfig>;

/** Numbers of steps of a text such as `1,2,4`, each once, fewest first. */
export function otherSteps(text: string): number[] {
  const all = text === "" ? [] : text.split(",").map(Number);
  return [...new Set(all)].sort((a, b) => a - b);
}

function isSeeds(text: string): boolean {
  try {
    return parseSeeds(text).length > 0;
  } catch {
    return false;
  }
}

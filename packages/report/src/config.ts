import { z } from "zod";

/** What the page says about itself, and how much it shows. */
export const ReportConfig = z
  .strictObject({
    title: z.string().min(1).max(200).default("A MADFormer run").describe("Title of the page"),
    commands: z
      .string()
      .max(4000)
      .default("npm ci\nnpm run reproduce")
      .describe("The commands that make this run again, one a line, as the page shows them"),
    samples: z.int().nonnegative().max(1024).default(64).describe("Samples shown, images in the order of their seeds"),
    examples: z.int().nonnegative().max(1024).default(24).describe("Images of the data shown, from the first shard on"),
    frames: z.int().min(2).max(200).default(12).describe("Sample grids of the training shown, spread over its steps"),
    maxTileSide: z
      .int()
      .positive()
      .default(256)
      .describe("Longest side of a sample or example in the page, pixels; larger ones are reduced by a whole factor"),
    maxSide: z
      .int()
      .positive()
      .default(2048)
      .describe("Longest side of any other image in the page, pixels; larger ones are reduced by a whole factor"),
    smoothing: z
      .number()
      .min(0)
      .max(0.5)
      .default(0.02)
      .describe("Steps over which the weights of the smoothed curves fall to 1/e, share of all steps"),
  })
  .readonly();
export type ReportConfig = z.infer<typeof ReportConfig>;

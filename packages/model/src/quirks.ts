import { z } from "zod";

/**
 * Where the released code computes something else than one would expect, and the numbers differ for it, a switch says
 * which of the two is meant. `reference` is the code as released; `sound` is what we would do. Sections are those of
 * the description of the reference implementation.
 */
export const Quirks = z
  .strictObject({
    condition: z
      .enum(["with-noised", "autoregressive"])
      .describe(
        "What the hidden loss sees: the output of the autoregressive layers with the embedding of the noised block " +
          "added (the released code aliases it, section 16.1), or that output alone",
      ),
    conditionSkips: z
      .enum(["clean", "zero"])
      .describe(
        "Skip connections when the condition is brought back to latents: the clean block's own, which nearly gives it " +
          "away (section 16.1), or none",
      ),
    cleanTimestep: z
      .enum(["shared", "zero"])
      .describe(
        "Timestep that clean blocks are embedded with: the noised block's random one in training and the schedule's last " +
          "in sampling (section 16.11), or 0 in both",
      ),
    timestepScale: z
      .enum(["raw", "raw-bfloat16", "unit"])
      .describe(
        "What the time embedding sees: the timestep 0..999 (section 4), that as bfloat16 holds it, 999 being 1000, as " +
          "it does where the released code trains under autocast (section 16.17), or the timestep divided by 1000",
      ),
    ropePairs: z
      .enum(["across-axes", "within-axis"])
      .describe(
        "Which dimensions of a head are rotated together: one of the row's with one of the column's (section 16.2), or " +
          "two of the same axis",
      ),
    ropeExponents: z
      .enum(["inclusive", "exclusive"])
      .describe("Exponents of the rotary frequencies: i/(n-1), which includes 1 (section 16.2), or i/n"),
    warmupStart: z
      .enum(["zero", "first-step"])
      .describe("Learning rate of the first update under warm-up: 0 (section 16.9), or that of step 1"),
  })
  .readonly();
export type Quirks = z.infer<typeof Quirks>;

/**
 * Complete settings, by name: the released code, its branch for ImageNet, whose condition is the output of the
 * autoregressive layers (spec section 24), and ours.
 */
export const QUIRKS = {
  reference: Object.freeze({
    condition: "with-noised",
    conditionSkips: "clean",
    cleanTimestep: "shared",
    timestepScale: "raw",
    ropePairs: "across-axes",
    ropeExponents: "inclusive",
    warmupStart: "zero",
  }),
  imagenet: Object.freeze({
    condition: "autoregressive",
    conditionSkips: "clean",
    cleanTimestep: "shared",
    timestepScale: "raw",
    ropePairs: "across-axes",
    ropeExponents: "inclusive",
    warmupStart: "zero",
  }),
  sound: Object.freeze({
    condition: "autoregressive",
    conditionSkips: "zero",
    cleanTimestep: "zero",
    timestepScale: "unit",
    ropePairs: "within-axis",
    ropeExponents: "exclusive",
    warmupStart: "first-step",
  }),
} as const satisfies Record<string, Quirks>;

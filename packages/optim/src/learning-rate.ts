import { z } from "zod";

/** How the learning rate goes over a training run. */
export const ScheduleConfig = z
  .discriminatedUnion("kind", [
    z.strictObject({ kind: z.literal("constant") }),
    z.strictObject({
      kind: z.literal("wsd"),
      warmup: z.number().min(0).max(1).default(0.01).describe("Share of all steps spent warming up"),
    }),
    z.strictObject({
      kind: z.literal("cosine"),
      warmup: z.number().min(0).max(1).default(0.01).describe("Share of all steps spent warming up"),
    }),
  ])
  .readonly();
export type ScheduleConfig = z.infer<typeof ScheduleConfig>;

/** Whether the first update under warm-up has rate 0, or the rate of step 1. */
export type WarmupStart = "zero" | "first-step";

/** Share of all steps after which warmup-stable-decay begins to decay. */
const STABLE_UNTIL = 0.85;

/** What is left of the rate at the end of the cosine. */
const COSINE_FLOOR = 0.01;

/**
 * What the base learning rate is multiplied with at a step.
 *
 *     wsd:     k/s₀ while warming up; 1 until 85 %; then halved six times until the end, and on beyond it
 *     cosine:  k/s₀ while warming up; then r + (1-r)/2 · (1 + cos π(k - s₀)/(total - s₀)), r = 0.01
 *
 * Source: spec section 10; warmup-stable-decay is Hu et al. 2024, arXiv:2404.06395.
 *
 * @param step Number of the update, from 0.
 * @param totalSteps Of the whole run.
 */
export function learningRateFactor(
  schedule: ScheduleConfig,
  step: number,
  totalSteps: number,
  warmupStart: WarmupStart,
): number {
  if (schedule.kind === "constant") return 1;
  const warm = Math.trunc(schedule.warmup * totalSteps);
  if (step < warm) return warmupFactor(step, warm, warmupStart);
  switch (schedule.kind) {
    case "wsd": {
      const stable = Math.trunc(STABLE_UNTIL * totalSteps);
      return step < stable ? 1 : 0.5 ** ((6 * (step - stable)) / (totalSteps - stable));
    }
    case "cosine":
      return cosineFactor(step, warm, totalSteps, COSINE_FLOOR);
  }
}

/** k/s₀ at step k from 0, below s₀. */
export function warmupFactor(step: number, warmupSteps: number, start: WarmupStart): number {
  return (start === "zero" ? step : step + 1) / warmupSteps;
}

/** r + (1-r)/2 · (1 + cos π(k - s₀)/(total - s₀)) at step k from s₀ on: half a cosine, from 1 down to r. */
export function cosineFactor(step: number, warmupSteps: number, totalSteps: number, floor: number): number {
  const wave = (1 + Math.cos((Math.PI * (step - warmupSteps)) / (totalSteps - warmupSteps))) / 2;
  return floor + (1 - floor) * wave;
}

import { z } from "zod";

/** sigma_rel of a power of 0, above which averages grow instead of decay: 1 / (2 sqrt(3)). */
const SIGMA_OF_ZERO = 1 / (2 * Math.sqrt(3));

/** How the average of the weights forgets. */
export const EmaConfig = z
  .discriminatedUnion("kind", [
    z.strictObject({
      kind: z.literal("constant"),
      decay: z.number().min(0).lt(1).default(0.9999).describe("What is left of the average at each step"),
      warmup: z
        .boolean()
        .default(false)
        .describe("Forget faster at first: decay (1 + k) / (10 + k) at step k while that is less; for short runs"),
    }),
    z
      .strictObject({
        kind: z.literal("power"),
        sigmaRel: z
          .number()
          .positive()
          .lt(SIGMA_OF_ZERO)
          .optional()
          .describe(
            "Standard deviation of the average's weights over time, as a share of the training so far; or gamma",
          ),
        gamma: z
          .number()
          .nonnegative()
          .optional()
          .describe("Power: step k has weight k^gamma in the average; or sigmaRel. Without either, sigmaRel is 0.1"),
      })
      .refine(({ sigmaRel, gamma }) => sigmaRel === undefined || gamma === undefined, {
        path: ["gamma"],
        error: "sigmaRel and gamma say the same: give one of them",
      }),
  ])
  .readonly();
export type EmaConfig = z.infer<typeof EmaConfig>;

/**
 * What is left of the average at a step:
 *
 *     constant:  d                    with warm-up: min(d, (1 + k) / (10 + k))
 *     power:     (1 - 1/k)^(γ+1)      so that step j has weight about j^γ in the average after step k
 *
 * Source: Karras et al. 2024, arXiv:2312.02696, section 3.1 (power); spec section 9 (constant).
 *
 * @param step Number of the update, from 1.
 * @returns In [0, 1). 0 at the first step of the power kind: the average is then the parameter.
 */
export function emaDecay(ema: EmaConfig, step: number): number {
  switch (ema.kind) {
    case "constant":
      return ema.warmup ? Math.min(ema.decay, (1 + step) / (10 + step)) : ema.decay;
    case "power":
      return (1 - 1 / step) ** ((ema.gamma ?? gammaOf(ema.sigmaRel ?? 0.1)) + 1);
  }
}

/**
 * The power whose average has a relative standard deviation: the γ ≥ 0 with
 *
 *     σ_rel = sqrt(γ + 1) / ((γ + 2) sqrt(γ + 3))
 *
 * by bisection, because the right side falls from 0.2887 at γ = 0 to 0.
 *
 * Source: Karras et al. 2024, arXiv:2312.02696, section 3.1.
 */
export function gammaOf(sigmaRel: number): number {
  const sigmaOf = (gamma: number): number => Math.sqrt(gamma + 1) / ((gamma + 2) * Math.sqrt(gamma + 3));
  let [low, high] = [0, 1 / sigmaRel]; // sigmaOf(γ) < 1 / γ
  for (let i = 0; i < 100; i++) {
    const middle = (low + high) / 2;
    if (sigmaOf(middle) > sigmaRel) low = middle;
    else high = middle;
  }
  return high;
}

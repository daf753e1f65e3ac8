import { z } from "zod";

/**
 * What is known of how a group of images was made, beside its name. `features` hands on what a sampler says, for
 * `score`.
 */
export const GroupAbout = z.object({
  /** Training step of the checkpoint that made the images. */
  step: z.int().nonnegative().optional(),
  /** Which of the checkpoint's weights made them. */
  weights: z.string().max(64).optional(),
  /**
   * Of a checkpoint that is sampled more than once: `steps`, the same seeds with another number of denoising steps;
   * `repeat`, as many other seeds.
   */
  role: z.enum(["steps", "repeat"]).optional(),
  /** Denoising steps for each block. */
  steps: z.int().positive().optional(),
  /** Network evaluations for each image. */
  nfe: z.int().positive().optional(),
});
export type GroupAbout = z.infer<typeof GroupAbout>;

/** Those of an object's fields alone, as far as they are there. */
export function aboutOf(group: GroupAbout): Record<string, string | number> & GroupAbout {
  const fields = Object.keys(GroupAbout.shape) as (keyof GroupAbout)[];
  const told = fields.flatMap((name) => (group[name] === undefined ? [] : [[name, group[name]] as const]));
  return Object.fromEntries(told);
}

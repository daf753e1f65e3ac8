import type { MadformerConfig } from "../config.js";
import { classTokens } from "../text/class-tokens.js";
import { hasText } from "../text/embedding.js";

/** All classes of a model, in their order; none for one without. */
export function classesOf({ text }: MadformerConfig): number[] {
  return Array.from({ length: text?.classes ?? 0 }, (_, label) => label);
}

/**
 * The class of an image: of the classes that are asked for, they take turns by seed. So a seed is the same image
 * whatever else is sampled, and seeds one after another have equally many of each.
 *
 * Departs from the released code, whose images are sorted by class (spec section 30): seed i has class i / (images / K)
 * there, so that another number of images gives every seed another class.
 *
 * @param classes At least one.
 */
export function labelOfSeed(classes: readonly number[], seed: number): number {
  return classes[seed % classes.length] as number;
}

/**
 * The texts of several images, one after another: (N, tokens) int32.
 *
 * @param classes Those that take turns; all of the model's unless given.
 * @returns Nothing for a model without text.
 */
export function textOfSeeds(
  model: MadformerConfig,
  seeds: readonly number[],
  classes: readonly number[] = classesOf(model),
): { readonly text?: Int32Array } {
  if (!hasText(model)) return {};
  const labels = seeds.map((seed) => labelOfSeed(classes, seed));
  return { text: classTokens(model.text, labels) };
}

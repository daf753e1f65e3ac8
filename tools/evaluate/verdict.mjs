/**
 * What the difference of two scores says, given how much scores differ by chance.
 */

/** @typedef {"better" | "no difference beyond noise" | "worse within noise" | "worse"} Verdict */

/**
 * 97.5 % quantiles of Student's t distribution, by degrees of freedom from 1 on: what a mean is off by at most, in 19
 * of 20 cases, in units of an estimated standard error.
 */
const QUANTILES = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228];
export const MIN_REPEATS = 2;
export const MAX_REPEATS = QUANTILES.length;

/**
 * How far two scores of the same model may lie apart by chance, 19 times of 20: t * sqrt(2) * s, with the standard
 * deviation s of its scores over sampling seeds. The two that are compared share their seeds, so it is rather too wide
 * than too narrow.
 *
 * @param {readonly number[]} scores Of the same model with other seeds each, 3 to 11.
 * @returns {number}
 */
export function noiseOf(scores) {
  const degrees = scores.length - 1;
  const quantile = QUANTILES[degrees - 1];
  if (quantile === undefined || degrees < MIN_REPEATS)
    throw new RangeError(`${scores.length} scores, expected ${MIN_REPEATS + 1} to ${MAX_REPEATS + 1}`);
  const mean = scores.reduce((sum, score) => sum + score, 0) / scores.length;
  const variance = scores.reduce((sum, score) => sum + (score - mean) ** 2, 0) / degrees;
  return quantile * Math.sqrt(2 * variance);
}

/**
 * @param {number} score Lower is better, as for the Fréchet distance.
 * @param {number} base
 * @param {number} noise
 * @returns {Verdict}
 */
export function verdictOf(score, base, noise) {
  for (const [name, value] of Object.entries({ score, base, noise }))
    if (!Number.isFinite(value)) throw new RangeError(`the ${name} is ${value}, expected a number`);
  const difference = score - base;
  if (difference > noise) return "worse";
  if (difference > 0) return "worse within noise";
  return difference < -noise ? "better" : "no difference beyond noise";
}

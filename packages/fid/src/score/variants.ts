import type { Measure } from "./metrics.js";
import type { GroupScore } from "./scores.js";

/** A score over several sets of seeds. */
export interface Spread {
  /** How many. */
  readonly sets: number;
  /** Samples of each. */
  readonly samples: number;
  /** Mean over sets, and their standard deviation (divided by sets - 1), of the distance and of each measure. */
  readonly mean: Readonly<Record<string, number>>;
  readonly std: Readonly<Record<string, number>>;
}

/**
 * How much the score of the newest checkpoint differs from one set of seeds to the next, by chance alone.
 *
 * @param final Its score.
 * @param repeats Its scores with as many other seeds.
 * @param names Of numbers besides `distance`.
 * @returns Nothing without other sets.
 * @throws {RangeError} If sets have different numbers of samples: their distances do not compare.
 */
export function spreadOf(
  final: GroupScore,
  repeats: readonly GroupScore[],
  names: readonly string[],
): Spread | undefined {
  const { samples } = final;
  if (repeats.length === 0 || samples === undefined) return undefined;
  const other = repeats.find((one) => one.samples !== samples);
  if (other)
    throw new RangeError(
      `Cannot compare sets of seeds: ${other.samples} samples in group "${other.name}", expected ${samples} as in "${final.name}"`,
    );
  const [mean, std]: [Record<string, number>, Record<string, number>] = [{}, {}];
  const sets = [final, ...repeats];
  for (const name of ["distance", ...names]) {
    const values = sets.flatMap(({ distance, numbers }) => (name === "distance" ? distance : (numbers[name] ?? [])));
    if (values.length < sets.length) continue;
    const middle = values.reduce((sum, value) => sum + value, 0) / values.length;
    mean[name] = middle;
    std[name] = Math.sqrt(values.reduce((sum, value) => sum + (value - middle) ** 2, 0) / (values.length - 1));
  }
  return { sets: sets.length, samples, mean, std };
}

/** The score at one number of steps. */
export interface StepsScore extends Pick<GroupScore, "distance" | "numbers"> {
  readonly steps: number | undefined;
  readonly nfe: number | undefined;
  readonly samples: number | undefined;
}

/**
 * Scores against network evaluations, fewest first: the newest checkpoint's, and those with other numbers of steps.
 *
 * @returns Nothing without others.
 */
export function stepsScores(final: GroupScore, others: readonly GroupScore[]): StepsScore[] {
  if (others.length === 0) return [];
  return [...others, final]
    .map(({ steps, nfe, samples, distance, numbers }) => ({ steps, nfe, samples, distance, numbers }))
    .sort((a, b) => (a.nfe ?? 0) - (b.nfe ?? 0) || (a.steps ?? 0) - (b.steps ?? 0));
}

/** Those scores as a table in Markdown. */
export function stepsTable(
  metric: string,
  scores: readonly StepsScore[],
  measures: Readonly<Record<string, Measure>>,
): string {
  const names = Object.keys(measures);
  const told = (value: number | undefined): string => (value === undefined ? "" : String(Number(value.toPrecision(4))));
  const heads = ["steps", "network evaluations", metric, ...names.map((name) => measures[name]!.label), "samples"];
  const rows = scores.map(({ steps, nfe, distance, numbers, samples }) =>
    [steps, nfe, distance, ...names.map((name) => numbers[name]), samples].map(told),
  );
  return [heads, heads.map(() => "---:"), ...rows].map((cells) => `| ${cells.join(" | ")} |\n`).join("");
}

import type { Classifier } from "../features/classifier.js";
import type { FeatureRows } from "../features/feature-file.js";
import type { Gaussian } from "../frechet.js";
import { classScore } from "../metrics/class-score.js";
import { coverage } from "../metrics/coverage.js";
import { kernelDistance } from "../metrics/kid.js";
import { mongeDistance } from "../metrics/mind.js";
import { spatialDistance } from "../metrics/spatial-distance.js";

/** How people read a number of a group of samples. */
export interface Measure {
  readonly label: string;
  readonly best: "higher" | "lower";
  /** Whether it lies in [0, 1]: shares are plotted together. */
  readonly isShare?: boolean;
  /** What it tells, and whose it is: a sentence or two for the page of a run. */
  readonly meaning: string;
}

export interface MetricOptions {
  /** Images of a side at most, for what compares all with all. */
  readonly limit: number;
  readonly neighbours: number;
  readonly seed: number;
  readonly signal: AbortSignal;
}

/** One side of a comparison: what is known of it. */
export interface MetricSide {
  readonly features?: FeatureRows | undefined;
  /** Mean and covariance of spatial features. */
  readonly spatial?: Gaussian | undefined;
  /** What features say of classes. */
  readonly classifier?: Classifier | undefined;
}

/** Something that is computed of both sides, beside the Fréchet distance. */
export interface Metric {
  /** Those of its numbers that tell how good samples are, by their names in the facts; tables show them. */
  readonly measures: Readonly<Record<string, Measure>>;
  /** @returns Numbers by name, these and others; nothing if there are too few images, or what it needs is not known. */
  of(
    reference: MetricSide,
    samples: MetricSide,
    options: MetricOptions,
  ): Promise<Readonly<Record<string, number>> | undefined>;
}

/** All of them: a new one is a file of `metrics/` and its name here. */
const METRICS: readonly Metric[] = [coverage, kernelDistance, mongeDistance, classScore, spatialDistance];

/** What they say of samples. */
export async function numbersOf(
  reference: MetricSide,
  samples: MetricSide,
  options: MetricOptions,
): Promise<Record<string, number>> {
  const numbers: Record<string, number> = {};
  for (const metric of METRICS) Object.assign(numbers, await metric.of(reference, samples, options));
  return numbers;
}

/** The measures among numbers that there are. */
export function measuresOf(numbers: readonly Readonly<Record<string, number>>[]): Record<string, Measure> {
  const all = METRICS.flatMap(({ measures }) => Object.entries(measures));
  return Object.fromEntries(all.filter(([name]) => numbers.some((group) => Object.hasOwn(group, name))));
}

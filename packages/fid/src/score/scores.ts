import { DataError } from "@madformer/artifacts";
import { permutation, randomKey } from "@madformer/engine";
import { SomeRows, type FeatureRows } from "../features/feature-file.js";
import { frechetDistance, type Gaussian } from "../frechet.js";
import { aboutOf, type GroupAbout } from "../images/group-about.js";
import { FeatureStatistics } from "../statistics/feature-statistics.js";
import type { StatisticsFile } from "../statistics/file.js";
import { numbersOf, type MetricOptions, type MetricSide } from "./metrics.js";
import type { OpenFeatures, Side, SideGroup } from "./side.js";

/**
 * The score of held-out data: some reference images in place of samples, and the others as the reference. What equally
 * many perfect samples would get, and a good model gets near.
 */
export interface Floor {
  readonly distance: number;
  /** Reference images that took the samples' place. */
  readonly samples: number;
  /** The rest, which they were compared with. */
  readonly referenceImages: number;
  /** What `METRICS` say of them. */
  readonly numbers: Readonly<Record<string, number>>;
}

/** The floor is noise below this. */
const MIN_FLOOR_IMAGES = 2;

/**
 * Scores some reference images, chosen at random, against the others.
 *
 * @param samples How many to choose; at most half of them are.
 * @returns Nothing if there are too few images to part.
 */
export async function floorOf(
  reference: Omit<OpenFeatures, keyof AsyncDisposable>,
  samples: number,
  options: MetricOptions,
): Promise<Floor | undefined> {
  const { rows } = reference.rows;
  const size = Math.min(samples, Math.floor(rows / 2));
  if (size < MIN_FLOOR_IMAGES) return undefined;
  const inPlaceOfSamples = new Uint8Array(rows);
  for (const row of permutation(randomKey(options.seed, "floor"), rows, { size })) inPlaceOfSamples[row] = 1;
  const all = Uint32Array.from({ length: rows }, (_, row) => row);
  const part = (chosen: Uint32Array) => partOf(reference, chosen, options.signal);
  const [rest, chosen] = [
    await part(all.filter((row) => inPlaceOfSamples[row] === 0)),
    await part(all.filter((row) => inPlaceOfSamples[row] === 1)),
  ];
  return {
    distance: distanceOf("the floor", rest.gaussian, chosen.gaussian),
    samples: size,
    referenceImages: rows - size,
    numbers: await numbersOf(rest, chosen, options),
  };
}

/** Some images of a side, as a side of their own. */
async function partOf(
  { rows, spatial, classifier }: Omit<OpenFeatures, keyof AsyncDisposable>,
  chosen: Uint32Array,
  signal: AbortSignal,
) {
  const features = new SomeRows(rows, chosen);
  return {
    features,
    classifier,
    gaussian: await gaussianOf(features, signal),
    spatial: spatial && (await gaussianOf(new SomeRows(spatial, chosen), signal)),
  };
}

async function gaussianOf(features: FeatureRows, signal: AbortSignal): Promise<Gaussian> {
  const statistics = new FeatureStatistics(features.dims);
  for await (const part of features.parts()) {
    signal.throwIfAborted();
    statistics.add(part);
  }
  return statistics.gaussian();
}

/** How near one group of samples is to the reference. */
export interface GroupScore extends Readonly<GroupAbout> {
  readonly name: string;
  /** Samples that were scored, where that is known. */
  readonly samples?: number;
  /** Fréchet distance of all of them to all reference images. */
  readonly distance: number;
  /** What `METRICS` say of it, where there are features. */
  readonly numbers: Readonly<Record<string, number>>;
}

/** Groups in the order of their steps; those without one stay where they are, before the others. */
export function inOrder<T extends { readonly step?: number | undefined }>(groups: readonly T[]): T[] {
  return [...groups].sort((a, b) => (a.step ?? -1) - (b.step ?? -1));
}

/** What a run is judged by. */
export interface Summary {
  /** The group of the last step, and its distance. */
  readonly group: string;
  readonly final: number;
  /** Mean distance of the last groups with weights of the same kind: one checkpoint is luck. */
  readonly mean: number;
  /** How many these are. */
  readonly last: number;
}

/** @param scores In the order of their steps; one or more. */
export function summaryOf(scores: readonly GroupScore[], last: number): Summary {
  const final = scores.at(-1)!;
  const alike = scores.filter(({ weights }) => weights === final.weights).slice(-last);
  const mean = alike.reduce((sum, { distance }) => sum + distance, 0) / alike.length;
  return { group: final.name, final: final.distance, mean, last: alike.length };
}

/** Scores one group of samples. */
export async function scoreOf(
  reference: { readonly side: Side; readonly group: SideGroup },
  samples: { readonly side: Side; readonly group: SideGroup },
  options: MetricOptions,
): Promise<GroupScore> {
  const { name, images } = samples.group;
  const ofReference = await reference.side.statistics(reference.group);
  const ofSamples = await samples.side.statistics(samples.group);
  const distance = distanceOf(`group "${name}"`, ofReference, ofSamples);
  await using from = await reference.side.features(reference.group);
  await using to = await samples.side.features(samples.group);
  const numbers = await numbersOf(metricSide(from, ofReference), metricSide(to, ofSamples), options);
  return {
    name,
    ...aboutOf(samples.group),
    ...(images === undefined ? {} : { samples: images }),
    distance,
    numbers,
  };
}

const metricSide = (open: OpenFeatures | undefined, { spatial }: StatisticsFile): MetricSide => ({
  features: open?.rows,
  classifier: open?.classifier,
  spatial,
});

/** @throws {DataError} If there is no finite distance: says of what. */
function distanceOf(what: string, a: Gaussian, b: Gaussian): number {
  try {
    return frechetDistance(a, b);
  } catch (cause) {
    throw new DataError(`Cannot score ${what}: ${(cause as Error).message}`, { cause });
  }
}

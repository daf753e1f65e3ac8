import { DataError } from "@madformer/artifacts";
import { permutation, randomKey } from "@madformer/engine";
import type { FeatureFile } from "../features/feature-file.js";
import { frechetDistance, type Gaussian } from "../frechet.js";
import { FeatureStatistics } from "../statistics/feature-statistics.js";
import { numbersOf, type MetricOptions } from "./metrics.js";
import type { Side, SideGroup } from "./side.js";

/**
 * A distance between two parts of the reference: what equally many perfect samples would get, and a good model gets
 * near.
 */
export interface Floor {
  readonly distance: number;
  /** Reference images that took the samples' place. */
  readonly samples: number;
  /** The rest, which they were compared with. */
  readonly referenceImages: number;
}

/** The floor is noise below this. */
const MIN_FLOOR_IMAGES = 2;

/**
 * The Fréchet distance of some reference images, chosen at random, to the others.
 *
 * @param samples How many to choose; at most half of them are.
 * @returns Nothing if there are too few images to part.
 */
export async function floorOf(reference: FeatureFile, samples: number, seed: number): Promise<Floor | undefined> {
  const { rows, dims } = reference;
  const chosen = Math.min(samples, Math.floor(rows / 2));
  if (chosen < MIN_FLOOR_IMAGES) return undefined;
  const inPlaceOfSamples = new Uint8Array(rows);
  for (const row of permutation(randomKey(seed, "floor"), rows, { size: chosen })) inPlaceOfSamples[row] = 1;
  const [rest, part] = [new FeatureStatistics(dims), new FeatureStatistics(dims)];
  let row = 0;
  for await (const features of reference.parts())
    for (let at = 0; at < features.length; at += dims)
      (inPlaceOfSamples[row++] ? part : rest).add(features.subarray(at, at + dims));
  return {
    distance: distanceOf("the floor", rest.gaussian(), part.gaussian()),
    samples: chosen,
    referenceImages: rows - chosen,
  };
}

/** How near one group of samples is to the reference. */
export interface GroupScore {
  readonly name: string;
  readonly step?: number;
  readonly weights?: string;
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
  const { name, step, weights, images } = samples.group;
  const distance = distanceOf(
    `group "${name}"`,
    await reference.side.statistics(reference.group),
    await samples.side.statistics(samples.group),
  );
  await using from = await reference.side.features(reference.group);
  await using to = await samples.side.features(samples.group);
  const numbers = from && to ? await numbersOf(from, to, options) : {};
  return {
    name,
    ...(step === undefined ? {} : { step }),
    ...(weights === undefined ? {} : { weights }),
    ...(images === undefined ? {} : { samples: images }),
    distance,
    numbers,
  };
}

/** @throws {DataError} If there is no finite distance: says of what. */
function distanceOf(what: string, a: Gaussian, b: Gaussian): number {
  try {
    return frechetDistance(a, b);
  } catch (cause) {
    throw new DataError(`Cannot score ${what}: ${(cause as Error).message}`, { cause });
  }
}

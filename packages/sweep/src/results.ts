import type { Made, StageRecord } from "@madformer/artifacts";
import { ConfigError, entryDigest, outputFolder, readChecked, readOutput } from "@madformer/stage";
import { placeOf, type Json, type ValuePlace } from "../plain/sweep-file.mjs";
import type { PointRun } from "./points.js";
import { pointFolder } from "./run.js";

/** What a point has made, of the stages that are as the sweep has them now. */
export interface PointResult {
  readonly point: PointRun;
  readonly made: ReadonlyMap<string, Made>;
}

/** Numbers of a record, which facts are not: they differ from run to run. */
const OF_RECORD = ["seconds", "peakMemoryBytes", "attempts"] as const satisfies readonly (keyof StageRecord)[];

/** What the points of a sweep show now, none of it from before the sweep's or the pipeline's file was changed. */
export async function resultsOf(runs: readonly PointRun[], folder: string): Promise<PointResult[]> {
  const results: PointResult[] = [];
  for (const point of runs) {
    const made = new Map<string, Made>();
    for (const entry of point.stages) {
      if (Object.values(entry.needs).some((need) => !made.has(need))) continue;
      const out = outputFolder(pointFolder(folder, point.name), entry.name);
      const checked = await readChecked(out);
      const one = checked?.entry === entryDigest(entry) ? await readOutput(out) : undefined;
      const fits = Object.entries(entry.needs).every(
        ([input, need]) => one?.record.inputs[input]?.digest === made.get(need)?.record.manifest,
      );
      if (one && fits) made.set(entry.name, one);
    }
    results.push({ point, made });
  }
  return results;
}

/** Whether a point has made all that it should. */
export function isComplete({ point, made }: PointResult): boolean {
  return point.stages.every(({ name }) => made.has(name));
}

/**
 * A number of a point.
 *
 * @returns Undefined if its stage has not run.
 * @throws {ConfigError} If there is none at this place, or no number: names those that there are.
 */
export function numberAt({ made, point }: PointResult, place: ValuePlace): number | undefined {
  const one = made.get(place.stage);
  if (one === undefined) return undefined;
  const value = factAt(one, place.path);
  if (typeof value === "number" && Number.isFinite(value)) return value;
  const found = value === undefined ? "nothing" : JSON.stringify(value).slice(0, 60);
  throw new ConfigError(
    `Cannot find a number at "${place.place}" of ${point.name}: found ${found}, expected one of: ${numbersOf(one).join(", ")}`,
  );
}

/** A number of the config or of what was made: an axis's place names the first. */
export function coordinateAt(result: PointResult, place: string): number | undefined {
  if (Object.hasOwn(result.point.values, place)) return Number(result.point.values[place]);
  return numberAt(result, placeOf(place) as ValuePlace);
}

/** Facts by the words of a place; of a list, its items by their index, or the last one. */
function factAt({ manifest, record }: Made, path: readonly string[]): unknown {
  let value: unknown = manifest.facts;
  for (const [i, word] of path.entries()) {
    if (Array.isArray(value)) value = word === "last" ? value.at(-1) : value[Number(word)];
    else if (typeof value === "object" && value !== null && Object.hasOwn(value, word))
      value = (value as Record<string, unknown>)[word];
    else if (i === 0 && path.length === 1 && (OF_RECORD as readonly string[]).includes(word))
      return record[word as (typeof OF_RECORD)[number]];
    else return undefined;
  }
  return value;
}

/** Places of the numbers that a stage's facts and record have; not those of longer lists. */
function numbersOf({ manifest, record }: Made): string[] {
  const below = (value: Json, place: string): string[] => {
    if (typeof value === "number") return [place];
    if (typeof value !== "object" || value === null) return [];
    const entries = Array.isArray(value)
      ? [["last", value.at(-1) as Json] as const]
      : Object.entries<Json>(value as never);
    return entries.flatMap(([word, one]) => below(one, `${place}.${word}`));
  };
  const facts = Object.entries(manifest.facts).flatMap(([word, value]) => below(value as Json, word));
  return [...facts, ...OF_RECORD].map((place) => `${record.stage}.${place}`);
}

import { ConfigError } from "@madformer/stage";
import { placeOf, textOf, type Json, type ValuePlace } from "../plain/sweep-file.mjs";
import { labelOf } from "./points.js";
import { coordinateAt, numberAt, type PointResult } from "./results.js";
import { paretoFront, spreadOf, type Spread } from "./spread.js";
import type { Sweep } from "./sweep.js";

/** One setting in a plot. */
export interface Mark {
  readonly x: number;
  readonly y: Spread;
  /** Which setting it is. */
  readonly label: string;
  /** Its points. */
  readonly points: readonly string[];
}

export interface Plot {
  readonly x: string;
  readonly y: string;
  readonly series: readonly { readonly name: string; readonly marks: readonly Mark[] }[];
}

type Spec = NonNullable<Sweep["plot"]>;

/** The plot that a sweep asks for: a curve for each combination of the axes that are series. */
export function plotOf(sweep: Sweep, results: readonly PointResult[], spec: Spec): Plot {
  const marks = marksOf(results, (result) => coordinateAt(result, spec.x), spec.y);
  // Axes of which nothing was said, and which are not along x, would make one curve of several.
  const rest = sweep.axes
    .filter(({ place, values }) => place !== spec.x && values.length > 1)
    .map(({ place }) => place);
  const along = isAlong(spec.x, marks, rest);
  const places = spec.series.length > 0 ? spec.series : rest.filter((place) => !along.includes(place));
  return { x: spec.x, y: spec.y.place, series: seriesOf(marks, places) };
}

/** What a network evaluation, or time, buys. */
export interface Front {
  /** What it costs, such as `sample.nfe`. */
  readonly x: string;
  readonly xLabel: string;
  readonly marks: readonly Mark[];
  /** Those that nothing is better than in both ways. */
  readonly front: readonly Mark[];
}

/**
 * Score against network evaluations, against layers, and against the time that an image took, and the Pareto front of
 * each; of what an older `sample` did not count, none.
 */
export function frontsOf(results: readonly PointResult[], value: ValuePlace, best: "lower" | "higher"): Front[] {
  const sample = results[0]?.point.stages.find(({ uses }) => uses === "sample")?.name;
  if (sample === undefined) return [];
  const fact = (result: PointResult, path: string): number | undefined => {
    const one = result.made.get(sample)?.manifest.facts[path];
    return typeof one === "number" ? one : undefined;
  };
  const costs = [
    {
      x: `${sample}.nfe`,
      xLabel: "network evaluations of an image",
      of: (result: PointResult) => fact(result, "nfe"),
    },
    {
      x: `${sample}.layerRuns`,
      xLabel: "layers run for an image",
      of: (result: PointResult) => fact(result, "layerRuns"),
    },
    {
      x: `${sample}.seconds`,
      xLabel: "seconds of sampling an image",
      of: (result: PointResult) => {
        const [images, groups] = [fact(result, "images"), result.made.get(sample)?.manifest.facts["groups"]];
        const isStepped = (group: unknown): boolean => (group as { role?: unknown } | null)?.role === "steps";
        if (Array.isArray(groups) && groups.some(isStepped)) return undefined; // images of several costs
        const checkpoints = Array.isArray(groups) ? Math.max(1, groups.length) : 1;
        return images ? (result.made.get(sample)?.record.seconds ?? NaN) / (images * checkpoints) : undefined;
      },
    },
  ];
  return costs.flatMap(({ x, xLabel, of }) => {
    const marks = marksOf(results, of, value);
    const sign = best === "lower" ? 1 : -1;
    const front = paretoFront(
      marks,
      (mark) => mark.x,
      (mark) => sign * mark.y.mean,
    );
    return marks.length > 1 ? [{ x, xLabel, marks, front }] : [];
  });
}

/** All settings with numbers at both places: the mean over seeds at x, mean and spread at y. */
function marksOf(
  results: readonly PointResult[],
  x: (result: PointResult) => number | undefined,
  y: ValuePlace,
): (Mark & { readonly setting: Readonly<Record<string, Json>> })[] {
  const settings = new Map<string, PointResult[]>();
  for (const result of results) {
    const key = JSON.stringify(result.point.setting);
    settings.set(key, [...(settings.get(key) ?? []), result]);
  }
  return [...settings.values()].flatMap((own) => {
    const [xs, ys] = [own.flatMap((result) => x(result) ?? []), own.flatMap((result) => numberAt(result, y) ?? [])];
    const [at, spread] = [spreadOf(xs), spreadOf(ys)];
    const setting = own[0]?.point.setting ?? {};
    if (!at || !spread || !Number.isFinite(at.mean)) return [];
    const points = own.map(({ point }) => point.name);
    return [{ x: at.mean, y: spread, label: labelOf(setting), points, setting }];
  });
}

function seriesOf(
  marks: readonly (Mark & { readonly setting: Readonly<Record<string, Json>> })[],
  places: readonly string[],
): Plot["series"] {
  const series = new Map<string, Mark[]>();
  for (const { setting, ...mark } of marks) {
    const name = labelOf(Object.fromEntries(places.map((place) => [place, setting[place] as Json])));
    series.set(name, [...(series.get(name) ?? []), mark]);
  }
  return [...series].map(([name, own]) => ({ name, marks: own.sort((a, b) => a.x - b.x) }));
}

/**
 * Axes that x follows from, such as `sample.steps` for `sample.nfe`: with all others fixed, each value has its own x.
 */
function isAlong(
  x: string,
  marks: readonly { readonly x: number; readonly setting: Readonly<Record<string, Json>> }[],
  places: readonly string[],
): string[] {
  const stage = placeOf(x)?.stage;
  return places.filter((place) => {
    if (placeOf(place)?.stage !== stage) return false;
    const byOthers = new Map<string, Map<number, string>>();
    for (const { x: at, setting } of marks) {
      const others = JSON.stringify(Object.entries(setting).filter(([other]) => other !== place));
      const values = byOthers.get(others) ?? new Map<number, string>();
      const value = textOf(setting[place] as Json);
      if ((values.get(at) ?? value) !== value) return false;
      byOthers.set(others, values.set(at, value));
    }
    return [...byOthers.values()].some((values) => values.size > 1);
  });
}

/** Computing time of all points together, each stage once. */
export function computingSeconds(results: readonly PointResult[]): number {
  const seen = new Map<string, number>();
  for (const { made } of results) for (const { record } of made.values()) seen.set(record.key, record.seconds);
  return [...seen.values()].reduce((sum, seconds) => sum + seconds, 0);
}

/** The plot's spec of a sweep, or the one that its table leads to. */
export function plotSpecOf(sweep: Sweep, value: ValuePlace): Spec {
  if (sweep.plot) return sweep.plot;
  const axis = sweep.axes.find(({ values }) => values.every((one) => typeof one === "number") && values.length > 1);
  if (axis === undefined)
    throw new ConfigError(
      `Cannot plot the sweep "${sweep.name}": its file has no "plot", and no axis has numbers alone`,
    );
  return { x: axis.place, y: value, series: [] };
}

import type { Json } from "../plain/sweep-file.mjs";
import { labelOf } from "./points.js";
import { numberAt, type PointResult } from "./results.js";
import { spreadOf, type Spread } from "./spread.js";
import type { Sweep } from "./sweep.js";

/** A cell: one setting. */
export interface Cell {
  /** Undefined if no seed of it has run. */
  readonly spread: Spread | undefined;
  /** How many seeds it should have. */
  readonly seeds: number;
  /** Whether no other cell is better. */
  readonly best: boolean;
  /** Names of its points. */
  readonly points: readonly string[];
}

export interface Table {
  readonly sweep: string;
  /** Where the numbers are from, such as `score.mean`. */
  readonly value: string;
  readonly best: "lower" | "higher";
  readonly rows: readonly Heading[];
  readonly columns: readonly Heading[];
  /** By row, by column; undefined where the sweep has no such point. */
  readonly cells: readonly (readonly (Cell | undefined)[])[];
}

/** Values of the axes of a row, or of a column. */
export interface Heading {
  readonly label: string;
  readonly values: Readonly<Record<string, Json>>;
}

/**
 * A table of a number of all points.
 *
 * @param value What it shows of the sweep, and where.
 */
export function tableOf(sweep: Sweep, results: readonly PointResult[], value: NonNullable<Sweep["table"]>): Table {
  const rows = headings(results, value.rows, sweep, sweep.name);
  const columns = headings(results, value.columns, sweep, value.value.place);
  const drafts = rows.map((row) =>
    columns.map((column) => {
      const own = results.filter(({ point }) => fits(point.setting, { ...row.values, ...column.values }));
      const numbers = own.flatMap((result) => numberAt(result, value.value) ?? []);
      return own.length === 0 ? undefined : { spread: spreadOf(numbers), own };
    }),
  );
  const means = drafts.flat().flatMap((cell) => cell?.spread?.mean ?? []);
  const best = value.best === "lower" ? Math.min(...means) : Math.max(...means);
  const cells = drafts.map((row) =>
    row.map((cell) =>
      cell === undefined
        ? undefined
        : {
            spread: cell.spread,
            seeds: cell.own.length,
            best: means.length > 1 && cell.spread?.mean === best,
            points: cell.own.map(({ point }) => point.name),
          },
    ),
  );
  return { sweep: sweep.name, value: value.value.place, best: value.best, rows, columns, cells };
}

/** Different values of some axes, in the order of these; one heading without values if there are no axes. */
function headings(
  results: readonly PointResult[],
  places: readonly string[],
  { axes }: Sweep,
  otherwise: string,
): Heading[] {
  const found = new Map<string, Heading>();
  for (const { point } of results) {
    const values = Object.fromEntries(places.map((place) => [place, point.setting[place] as Json]));
    const key = JSON.stringify(values);
    if (!found.has(key)) found.set(key, { label: places.length === 0 ? otherwise : labelOf(values), values });
  }
  const rank = (heading: Heading, place: string): number =>
    axes.find((axis) => axis.place === place)?.values.findIndex((value) => same(value, heading.values[place])) ?? 0;
  const order = (a: Heading, b: Heading): number => {
    const place = places.find((one) => rank(a, one) !== rank(b, one));
    return place === undefined ? 0 : rank(a, place) - rank(b, place);
  };
  return [...found.values()].sort(order);
}

function fits(setting: Readonly<Record<string, Json>>, values: Readonly<Record<string, Json>>): boolean {
  return Object.entries(values).every(([place, value]) => same(setting[place], value));
}

const same = (a: Json | undefined, b: Json | undefined): boolean => JSON.stringify(a) === JSON.stringify(b);

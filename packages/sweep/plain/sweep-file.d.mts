/** A value of JSON. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** A field of a stage's config that takes several values. */
export interface Axis {
  /** `<stage>.<field>`, as the file says it. */
  readonly place: string;
  readonly stage: string;
  readonly path: readonly string[];
  readonly values: readonly Json[];
}

/** Where a number is: a fact of what a stage made, or `seconds` and `peakMemoryBytes` of its record. */
export interface ValuePlace {
  readonly place: string;
  readonly stage: string;
  readonly path: readonly string[];
}

/** One run of the pipeline. */
export interface SweepPoint {
  /** What its folder is called. */
  readonly name: string;
  /** Place -> value, of axes and seeds. */
  readonly values: Readonly<Record<string, Json>>;
  /** Its values of axes alone: points that differ in seeds share it. */
  readonly setting: Readonly<Record<string, Json>>;
  /** Which of the seeds it has, from 0. */
  readonly seed: number;
}

export interface TableSpec {
  readonly rows: readonly string[];
  readonly columns: readonly string[];
  readonly value: ValuePlace;
  readonly best: "lower" | "higher";
}

export interface PlotSpec {
  /** An axis with numbers, or a number of what was made. */
  readonly x: string;
  readonly y: ValuePlace;
  /** Axes of which each combination is a curve. */
  readonly series: readonly string[];
}

/** A sweep's file that was checked. */
export interface SweepFile {
  readonly name: string;
  readonly description: string;
  readonly pipeline: string;
  /** Up to which stage each point runs; nothing: all of them. */
  readonly stage: string | undefined;
  readonly axes: readonly Axis[];
  /** What differs between points whose numbers are averaged: each has one value a seed. */
  readonly seeds: readonly Axis[];
  readonly table: TableSpec | undefined;
  readonly plot: PlotSpec | undefined;
  readonly points: readonly SweepPoint[];
}

export class SweepError extends Error {}
export function readSweepFile(file: string): SweepFile;
export function checkSweep(value: unknown, file: string, name: string): SweepFile;
export function placeOf(text: string): ValuePlace | undefined;
/** A value as messages, names of points and tables show it. */
export function textOf(value: Json): string;

import type { Picture } from "../read/pictures.js";

/** A setting of a sweep in a plot. */
export interface SweepMark {
  readonly x: number;
  readonly y: number;
  /** Standard deviation over seeds, if there are several. */
  readonly deviation?: number | undefined;
  /** Which setting it is. */
  readonly label: string;
  /** Where its report is, from the page. */
  readonly href?: string | undefined;
}

export interface SweepPlot {
  /** Unique in the page; letters, digits and dashes. */
  readonly id: string;
  readonly title: string;
  readonly xLabel: string;
  readonly yLabel: string;
  readonly series: readonly { readonly name: string; readonly marks: readonly SweepMark[] }[];
  /** Those of all marks that nothing is better than in both ways. */
  readonly front?: readonly SweepMark[];
}

export interface SweepTable {
  readonly caption: string;
  readonly columns: readonly string[];
  readonly rows: readonly {
    readonly label: string;
    readonly cells: readonly { readonly text: string; readonly note: string; readonly best: boolean }[];
  }[];
}

/** A point of a sweep: one run of its pipeline. */
export interface SweepPointRow {
  readonly label: string;
  /** What of it differs between seeds. */
  readonly seed: string;
  /** Its number, or why there is none. */
  readonly value: string;
  /** Spent on all its stages, those it shares with others among them. */
  readonly seconds: number;
  /** Its report, from the page. */
  readonly report?: string | undefined;
  /** Digest of what the number is from. */
  readonly digest?: string | undefined;
}

/** Samples of one setting, of the seeds that all settings have. */
export interface SweepSamples {
  readonly label: string;
  readonly pictures: readonly (Picture | undefined)[];
}

/** What the page of a sweep is about, all of it read and checked. */
export interface SweepPage {
  /** A sweep by default; or a comparison of runs of any pipelines. */
  readonly kind?: "sweep" | "comparison";
  readonly title: string;
  readonly description: string;
  /** One sentence: what was varied, how much of it has run. */
  readonly summary: string;
  readonly numbers: readonly (readonly [name: string, value: string])[];
  readonly table: SweepTable | undefined;
  readonly plots: readonly SweepPlot[];
  readonly points: readonly SweepPointRow[];
  /** What is compared: the name of the number. */
  readonly value: string;
  readonly samples: { readonly seeds: readonly string[]; readonly rows: readonly SweepSamples[] };
  /** In a comparison: what differs between runs. */
  readonly changes?: readonly { readonly title: string; readonly lines: readonly string[] }[];
  readonly commands: string;
}

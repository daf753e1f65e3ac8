import { type Artifact, DataError } from "@madformer/artifacts";
import { describeFile, readBytes } from "./text.js";

/** The rows of a losses.jsonl, by column. */
export interface LossTable {
  readonly steps: readonly number[];
  /** One number a step, NaN where a row had none, in the order in which columns first appear. */
  readonly columns: ReadonlyMap<string, readonly number[]>;
}

/** A line per step over a million steps is less. */
const MAX_BYTES = 512 * 2 ** 20;
/** A row with more numbers is no row of losses. */
const MAX_COLUMNS = 64;

/** The artifact's losses.jsonl, if it has one. */
export async function readLosses(artifact: Artifact): Promise<LossTable | undefined> {
  if (!artifact.files.includes("losses.jsonl")) return undefined;
  const text = (await readBytes(artifact, "losses.jsonl", MAX_BYTES)).toString("utf8");
  return parseLosses(text, describeFile(artifact, "losses.jsonl"));
}

/**
 * One JSON object a line: `step`, ascending, and numbers. Objects inside are read as dotted names; what is no number is
 * passed over.
 *
 * @param name Where it comes from, for messages.
 * @throws {DataError} With the line's number, if a line is no object with a `step` beyond the last one's.
 */
export function parseLosses(text: string, name: string): LossTable {
  const steps: number[] = [];
  const columns = new Map<string, number[]>();
  let [start, line] = [0, 0];
  while (start < text.length) {
    const end = text.indexOf("\n", start);
    const content = text.slice(start, end < 0 ? text.length : end).trim();
    start = end < 0 ? text.length : end + 1;
    line++;
    if (content === "") continue;
    const row = new Map<string, number>();
    collect(parseRow(content, name, line), "", row);
    const step = row.get("step");
    if (step === undefined) throw new DataError(`Cannot read line ${line} of ${name}: it has no number "step"`);
    const last = steps.at(-1) ?? -Infinity;
    if (step <= last)
      throw new DataError(
        `Cannot read line ${line} of ${name}: step ${step} comes after step ${last}, expected a later one`,
      );
    row.delete("step");
    for (const [column, value] of row) {
      const values = columns.get(column) ?? new Array<number>(steps.length).fill(NaN);
      columns.set(column, values);
      values.push(value);
    }
    steps.push(step);
    for (const values of columns.values()) if (values.length < steps.length) values.push(NaN);
    if (columns.size > MAX_COLUMNS)
      throw new DataError(`Cannot read ${name}: it has more than ${MAX_COLUMNS} columns by line ${line}`);
  }
  return { steps, columns };
}

function parseRow(content: string, name: string, line: number): object {
  let row: unknown;
  try {
    row = JSON.parse(content);
  } catch {
    row = undefined;
  }
  if (row === null || typeof row !== "object")
    throw new DataError(
      `Cannot read line ${line} of ${name}: found ${JSON.stringify(content.slice(0, 60))}, expected a JSON object`,
    );
  return row;
}

/** Numbers of a row, those of inner objects under dotted names. */
function collect(value: object, prefix: string, row: Map<string, number>): void {
  for (const [key, item] of Object.entries(value) as [string, unknown][]) {
    if (typeof item === "number") row.set(prefix + key, item);
    else if (item !== null && typeof item === "object") collect(item, `${prefix}${key}.`, row);
  }
}

/** How a column is shown. */
export type ColumnKind = "loss" | "learning rate" | "gradient norm" | "accuracy" | "other";

/** What a column is, by its name. Counters and the like are not shown. */
export function columnKind(column: string): ColumnKind {
  if (/^(lr|learningRate)$/.test(column)) return "learning rate";
  if (/^grad(ient)?Norm$/.test(column)) return "gradient norm";
  if (/accuracy/i.test(column)) return "accuracy";
  if (/^(images|epoch|seconds|beta|seed|skipped|scale)$/.test(column)) return "other";
  return "loss";
}

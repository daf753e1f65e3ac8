import { ConfigError } from "@madformer/stage";
import { FORMATS, formatTable, resultsOf, tableOf, type Format, type PointResult, type Table } from "@madformer/sweep";
import type { OpenSweep } from "./open.js";

/** What a sweep's table shows where its file has none: a row for each setting, of the score. */
export function tableSpecOf({ sweep, runs }: OpenSweep): NonNullable<OpenSweep["sweep"]["table"]> {
  if (sweep.table) return sweep.table;
  const score = runs[0]?.stages.find(({ uses }) => uses === "score")?.name;
  if (score === undefined)
    throw new ConfigError(
      `Cannot make a table of the sweep "${sweep.name}": its file has none, and ${sweep.pipeline} has no stage that scores`,
    );
  const value = { place: `${score}.mean`, stage: score, path: ["mean"] };
  return { rows: sweep.axes.map(({ place }) => place), columns: [], value, best: "lower" };
}

export async function sweepTable(open: OpenSweep): Promise<{ table: Table; results: PointResult[] }> {
  const results = await resultsOf(open.runs, open.folder);
  return { table: tableOf(open.sweep, results, tableSpecOf(open)), results };
}

export function tableText(table: Table, format: string): string {
  if (!(FORMATS as readonly string[]).includes(format))
    throw new ConfigError(`--format is ${JSON.stringify(format)}, expected one of: ${FORMATS.join(", ")}`);
  return formatTable(table, format as Format);
}

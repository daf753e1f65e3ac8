import { duration, StageRemote } from "@madformer/stage";
import { isRun, planOf, stagesOf, type Job, type Knowing, type PlannedJob } from "@madformer/sweep";
import type { Io } from "../program.js";
import type { OpenSweep } from "./open.js";

/** What would become of jobs, by the store and by the remote store, if there is one. */
export async function lookAhead(
  jobs: readonly Job[],
  knowing: Knowing,
  signal: AbortSignal,
  io: Io,
): Promise<PlannedJob[]> {
  const told = { signal, title: "sweep", stream: io.stream ?? process.stderr };
  await using remote = await StageRemote.open(".", knowing.store, told);
  return await planOf(jobs, knowing, remote);
}

/** A plan in a few lines. */
export function planText({ sweep, runs }: OpenSweep, planned: readonly PlannedJob[], parallel: number): string {
  const stages = stagesOf(planned);
  const rows = [
    ["stage", "points", "would run", "reused", "time"],
    ...stages.map(({ name, points, runs, reused, seconds, unknown }) => [
      name,
      ...[points, runs, reused].map(String),
      runs === 0 ? "" : unknown === runs ? "unknown" : `${unknown > 0 ? "more than " : ""}${duration(seconds)}`,
    ]),
  ];
  const widths = rows[0]?.map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0))) ?? [];
  const lines = rows.map((row) =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join("  "),
  );
  const [running, reused] = [stages.reduce((n, { runs }) => n + runs, 0), stages.reduce((n, s) => n + s.reused, 0)];
  const remote = planned.filter(({ state }) => state === "fetched").length;
  const fetched = remote === 0 ? "" : `, ${remote} of them fetched from the remote store`;
  const separate = runs.reduce((n, { stages }) => n + stages.length, 0);
  return [
    `${sweep.name}: ${count(runs.length, "point")} of ${sweep.pipeline}, ${count(separate, "stage")}, of which ${running + reused} are different`,
    "",
    ...lines.map((line) => line.trimEnd()),
    "",
    `${running} would run, ${reused} ${reused === 1 ? "is" : "are"} reused${fetched}. ${timeText(planned, parallel)}`,
    "",
  ].join("\n");
}

/** How long what would run takes, as far as records of earlier runs say. */
export function timeText(planned: readonly PlannedJob[], parallel: number): string {
  const running = planned.filter(isRun);
  if (running.length === 0) return "Nothing to do.";
  const known = running.filter(({ seconds }) => seconds !== undefined);
  const seconds = known.reduce((sum, { seconds = 0 }) => sum + seconds, 0) / parallel;
  if (known.length === 0) return "How long it takes is not known: none of these stages has run before.";
  const rest = running.length - known.length;
  const unknown = rest === 0 ? "" : `, without ${count(rest, "stage")} of a kind that has not run before`;
  return `About ${duration(seconds)}, from records of earlier runs${unknown}.`;
}

export const count = (number: number, what: string): string => `${number} ${what}${number === 1 ? "" : "s"}`;

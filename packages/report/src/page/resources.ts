import type { Artifact, StageRecord } from "@madformer/artifacts";
import { count, formatBytes, formatDuration, formatNumber, formatTime } from "../html/format.js";
import { html, type Html } from "../html/html.js";
import { TITLES, type StageName } from "../inputs.js";
import type { Run } from "../run.js";
import { scrolling, type Section } from "./section.js";

/**
 * What every stage cost, and, where it is known when the run began, which of them ran in it.
 *
 * @param runStarted ISO time. The page names it: what it says stays true whenever it is read.
 */
export function resourcesSection({ artifacts }: Run, runStarted: string | undefined): Section {
  const rows = [...artifacts];
  const records = rows.flatMap(([, { record }]) => record ?? []);
  const machines = [...new Set(records.map(machineOf))];
  const reused = runStarted === undefined ? [] : records.filter((record) => wasReused(record, runStarted));
  return {
    id: "resources",
    title: "Time and memory",
    content: html`<p>
        ${machines.length === 1 && html`All stages ran on one kind of machine: ${machines[0]}. `}
        ${
          runStarted !== undefined &&
          `In the run that began on ${formatTime(runStarted)}, ${count(records.length - reused.length, "stage")} ${
            records.length - reused.length === 1 ? "was" : "were"
          } computed and ${reused.length === 0 ? "none" : reused.length} reused from before.`
        }
      </p>
      <figure>
        ${scrolling("Time and memory of every stage", table(rows, machines.length > 1, runStarted))}
        <figcaption>
          Time is that of computing, all attempts together. Memory is the largest resident set of the stage’s process.
        </figcaption>
      </figure>`,
  };
}

function table(
  rows: readonly (readonly [StageName, Artifact])[],
  withMachine: boolean,
  runStarted: string | undefined,
): Html {
  const records = rows.flatMap(([, { record }]) => record ?? []);
  const seconds = records.reduce((sum, record) => sum + record.seconds, 0);
  const memory = Math.max(0, ...records.map((record) => record.peakMemoryBytes));
  return html`<table>
    <thead>
      <tr>
        <th scope="col">Stage</th>
        <th scope="col" class="number">Time</th>
        <th scope="col" class="number">Attempts</th>
        <th scope="col" class="number">Peak memory</th>
        <th scope="col" class="number">Output</th>
        ${runStarted !== undefined && html`<th scope="col">In this run</th>`}
        <th scope="col">Finished</th>
        ${withMachine && html`<th scope="col">Machine</th>`}
      </tr>
    </thead>
    <tbody>
      ${rows.map(
        ([name, { manifest, record }]) =>
          html`<tr>
            <th scope="row">${TITLES[name]}</th>
            <td class="number">${record ? formatDuration(record.seconds) : MISSING}</td>
            <td class="number">${record ? formatNumber(record.attempts) : MISSING}</td>
            <td class="number">${record ? formatBytes(record.peakMemoryBytes) : MISSING}</td>
            <td class="number">${formatBytes(sizeOf(manifest))}</td>
            ${
              runStarted !== undefined &&
              html`<td>${record ? (wasReused(record, runStarted) ? "reused" : "computed") : MISSING}</td>`
            }
            <td>${record ? html`<span class="number">${formatTime(record.finishedAt)}</span>` : MISSING}</td>
            ${withMachine && html`<td>${record ? machineOf(record) : MISSING}</td>`}
          </tr>`,
      )}
    </tbody>
    <tfoot>
      <tr>
        <th scope="row">Together</th>
        <td class="number">${formatDuration(seconds)}</td>
        <td></td>
        <td class="number">${formatBytes(memory)}</td>
        <td class="number">${formatBytes(rows.reduce((sum, [, { manifest }]) => sum + sizeOf(manifest), 0))}</td>
        ${runStarted !== undefined && html`<td></td>`}
        <td></td>
        ${withMachine && html`<td></td>`}
      </tr>
    </tfoot>
  </table>`;
}

const MISSING = html`<span class="missing">not recorded</span>`;

function wasReused(record: StageRecord, runStarted: string): boolean {
  return Date.parse(record.finishedAt) < Date.parse(runStarted);
}

function sizeOf(manifest: Artifact["manifest"]): number {
  return Object.values(manifest.files).reduce((sum, { bytes }) => sum + bytes, 0);
}

function machineOf({ machine }: StageRecord): string {
  return `${machine.cpu}, ${count(machine.cores, "core")}, ${machine.platform}, Node ${machine.node.replace(/^v/, "")}`;
}

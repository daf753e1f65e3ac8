import type { Artifact, StageRecord } from "@madformer/artifacts";
import { count, formatBytes, formatDuration, formatTime } from "../html/format.js";
import { html, type Content, type Html } from "../html/html.js";
import { TITLES } from "../inputs.js";
import { lineageGraph } from "../lineage/graph.js";
import type { LineageNode, Link } from "../lineage/lineage.js";
import type { Run } from "../run.js";
import { digestCode, scrolling, type Section } from "./section.js";

/** Where every number comes from: digests, programs, configs, times. */
export function lineageSection({ lineage }: Run): Section {
  const links = lineage.nodes.flatMap((node) => node.links).length;
  return {
    id: "lineage",
    title: "Lineage",
    content: html`<p>
        Every stage wrote down the digest of what it made, and those of what it made it from.
        ${
          links > 0 &&
          (lineage.confirmed === links
            ? `Here, all ${count(links, "such link")} lead to exactly the artifact with that digest. `
            : `Of ${count(links, "such link")} here, ${lineage.confirmed} lead to exactly the artifact with that digest, the others to artifacts that are not on this page. `)
        }The
        program is the digest of all code the stage could run; the key that of program, config, inputs and engine
        together.
      </p>
      <p><button type="button" class="quiet-button" id="open-all" hidden>Open all</button></p>
      <div class="lineage">
        <div class="graph-box">${lineageGraph(lineage)}</div>
        <ol class="stages">
          ${lineage.nodes.map(stageCard)}
        </ol>
      </div>`,
  };
}

function stageCard({ name, artifact, links }: LineageNode): Html {
  const { manifest, record } = artifact;
  return html`<li class="stage" id="stage-${name}">
    <div class="stage-head">
      <h3>${TITLES[name]}</h3>
      <span class="note">stage <code>${manifest.stage}</code></span>
    </div>
    <dl class="pairs">
      ${pair("Manifest", digestCode(artifact.digest))}
      ${record ? recordPairs(record) : pair("Made", html`<span class="missing">not recorded</span>`)}
      ${
        record &&
        pair(
          "From",
          links.length === 0
            ? "nothing before it"
            : html`<ul>
                ${links.map(linkItem)}
              </ul>`,
        )
      }
    </dl>
    ${record && valuesOf(record.config, "Configuration", `Configuration of ${TITLES[name]}`)}
    ${valuesOf(manifest.facts, "Facts", `Facts of ${TITLES[name]}`)} ${files(artifact, TITLES[name])}
    ${
      record &&
      record.program.externals.length > 0 &&
      html`<details>
        <summary>${count(record.program.externals.length, "npm package")}</summary>
        <p><code>${record.program.externals.join(", ")}</code></p>
      </details>`
    }
  </li>`;
}

function recordPairs(record: NonNullable<Artifact["record"]>): Content {
  return [
    pair("Key", digestCode(record.key)),
    pair("Program", digestCode(record.program.sha256)),
    record.compute && pair("Engine", engineText(record.compute)),
    pair(
      "Made",
      html`<span class="number">${formatTime(record.finishedAt)}</span>, in
        ${formatDuration(record.seconds)}${
          record.attempts > 1 &&
          ` of computing, ${record.attempts} attempts, the first of them from ${formatTime(record.startedAt)} on`
        }`,
    ),
  ];
}

function engineText({ engine, precision, version, threads }: NonNullable<StageRecord["compute"]>): string {
  const parts = [engine, version, precision, threads === undefined ? undefined : count(threads, "thread")];
  return parts.filter((part) => part !== undefined).join(", ");
}

function pair(name: string, value: Content): Html {
  return html`<dt>${name}</dt>
    <dd>${value}</dd>`;
}

function linkItem({ input, stage, digest, to, differs }: Link): Html {
  const where = to
    ? html`<a href="#stage-${to}">${TITLES[to]}</a>`
    : differs
      ? html`<span class="differs">another ${stage} than on this page</span>`
      : html`<span class="missing">${stage}, not on this page</span>`;
  return html`<li>${where} ${digestCode(digest)} <span class="missing">as ${input}</span></li>`;
}

/** A JSON value as a table of dotted names, which a browser's search finds even in what is closed. */
function valuesOf(value: unknown, title: string, label: string): Html | undefined {
  const rows = flatten(value);
  if (rows.length === 0) return undefined;
  return html`<details>
    <summary>${title}, ${count(rows.length, "value")}</summary>
    ${scrolling(
      label,
      html`<table>
        <tbody>
          ${rows.map(
            ([name, text]) =>
              html`<tr>
                <th scope="row">${name}</th>
                <td>${text}</td>
              </tr>`,
          )}
        </tbody>
      </table>`,
    )}
  </details>`;
}

/** Leaves of a JSON value under dotted names. Lists of plain values stay on one line, in JSON. */
export function flatten(value: unknown, name = ""): [name: string, text: string][] {
  const plain = (item: unknown): boolean => item === null || typeof item !== "object";
  if (Array.isArray(value) ? !value.every(plain) : !plain(value)) {
    const entries = Object.entries(value as object) as [string, unknown][];
    if (entries.length > 0)
      return entries.flatMap(([key, item]) => flatten(item, name === "" ? key : `${name}.${key}`));
    return name === "" ? [] : [[name, "{}"]];
  }
  const text = typeof value === "string" && value !== "" ? value : JSON.stringify(value);
  return [[name === "" ? "value" : name, text ?? "nothing"]];
}

/** So many files are listed by name; thousands of samples would be no use to anybody. */
const FILES_LISTED = 24;

function files({ manifest }: Artifact, title: string): Html | undefined {
  const all = Object.entries(manifest.files);
  if (all.length === 0) return undefined;
  const bytes = all.reduce((sum, [, file]) => sum + file.bytes, 0);
  return html`<details>
    <summary>${count(all.length, "file")}, ${formatBytes(bytes)}</summary>
    ${scrolling(
      `Files of ${title}`,
      html`<table>
        <tbody>
          ${all.slice(0, FILES_LISTED).map(
            ([name, file]) =>
              html`<tr>
                <th scope="row">${name}</th>
                <td class="number">${formatBytes(file.bytes)}</td>
                <td>${digestCode(file.sha256)}</td>
              </tr>`,
          )}
        </tbody>
      </table>`,
    )}
    ${all.length > FILES_LISTED && html`<p class="note">and ${count(all.length - FILES_LISTED, "more file", "more files")}</p>`}
  </details>`;
}

import { formatDuration } from "../html/format.js";
import { html, type Html } from "../html/html.js";
import { documentOf } from "../page/document.js";
import { tile, tilesRules } from "../page/pictures.js";
import { contents, digestCode, keyFacts, scrolling, section, type Section } from "../page/section.js";
import { STYLE } from "../page/style.js";
import { plot } from "../plot/figure.js";
import { chartsOf } from "./chart.js";
import type { SweepPage, SweepPlot, SweepTable } from "./data.js";

/**
 * The page about a sweep: its table, its plots, samples side by side, and all its points. Equal data gives equal
 * text.
 */
export function renderSweep(page: SweepPage): string {
  const sections = [
    tableSection(page.table),
    plotSection(page.plots),
    samplesSection(page),
    changesSection(page),
    pointsSection(page),
    commandsSection(page),
  ].filter((each) => each !== undefined);
  const widths = page.samples.rows.flatMap(({ pictures }) => pictures.flatMap((picture) => picture?.width ?? []));
  return documentOf(
    page.title,
    STYLE + tilesRules(widths),
    html`<div class="page">
      <header>
        <p class="eyebrow">MADFormer ${page.kind ?? "sweep"}</p>
        <h1>${page.title}</h1>
        ${page.description !== "" && html`<p class="lead">${page.description}</p>`}
        <p>${page.summary}</p>
        ${keyFacts(page.numbers)} ${contents(sections)}
      </header>
      <main>${sections.map(section)}</main>
      <footer>
        Written by <code>madformer ${page.kind === "comparison" ? "compare" : "sweep plot"}</code>. The page loads
        nothing${page.points.length > 0 && "; its links lead to the reports beside it"}.
      </footer>
    </div>`,
  );
}

function tableSection(table: SweepTable | undefined): Section | undefined {
  if (!table) return undefined;
  return {
    id: "table",
    title: "Table",
    content: html`<figure>
      ${scrolling(
        table.caption,
        html`<table>
          <caption>
            ${table.caption}
          </caption>
          <thead>
            <tr>
              <th scope="col"></th>
              ${table.columns.map((column) => html`<th scope="col" class="number">${column}</th>`)}
            </tr>
          </thead>
          <tbody>
            ${table.rows.map(
              ({ label, cells }) =>
                html`<tr>
                  <th scope="row">${label}</th>
                  ${cells.map(
                    ({ text, note, best }) =>
                      html`<td class="number">
                        ${best ? html`<strong>${text}</strong>` : text}
                        ${note !== "" && html`<span class="missing">${note}</span>`}
                      </td>`,
                  )}
                </tr>`,
            )}
          </tbody>
        </table>`,
      )}
    </figure>`,
  };
}

function plotSection(plots: readonly SweepPlot[]): Section | undefined {
  if (plots.length === 0) return undefined;
  return {
    id: "plots",
    title: "Plots",
    content: html`<p>
        A dot is a setting: its value is shown when it is pointed at, a click opens its report. Bars are standard
        deviations over seeds.
      </p>
      <div class="plots">
        ${plots.map((one, i) => plot({ id: one.id, title: one.title, charts: chartsOf(one), wide: i === 0 }))}
      </div>`,
  };
}

function samplesSection({ samples }: SweepPage): Section | undefined {
  const { seeds, rows } = samples;
  if (seeds.length === 0 || rows.length === 0) return undefined;
  return {
    id: "samples",
    title: "Samples at equal seeds",
    content: html`<p>A column is a seed, the same noise for every setting.</p>
      ${scrolling(
        "Samples of all settings",
        html`<table class="side-by-side">
          <thead>
            <tr>
              <th scope="col"></th>
              ${seeds.map((seed) => html`<th scope="col">seed ${seed}</th>`)}
            </tr>
          </thead>
          <tbody>
            ${rows.map(
              ({ label, pictures }) =>
                html`<tr>
                  <th scope="row">${label}</th>
                  ${pictures.map((picture, i) => html`<td>${picture && tile(picture, `${label}, seed ${seeds[i] ?? ""}`)}</td>`)}
                </tr>`,
            )}
          </tbody>
        </table>`,
      )}`,
  };
}

function changesSection({ changes = [] }: SweepPage): Section | undefined {
  if (changes.length === 0) return undefined;
  return {
    id: "changes",
    title: "What differs",
    content: html`${changes.map(
      ({ title, lines }) =>
        html`<h3>${title}</h3>
          ${lines.length > 0 && html`<pre><code>${lines.join("\n")}</code></pre>`}`,
    )}`,
  };
}

function pointsSection({ points, value }: SweepPage): Section | undefined {
  if (points.length === 0) return undefined;
  return {
    id: "points",
    title: "Points",
    content: scrolling(
      "All points",
      html`<table>
        <caption>
          Every run of the pipeline, with its report and where it comes from. Times are of all stages of a point, those
          it shares with others among them.
        </caption>
        <thead>
          <tr>
            <th scope="col">Setting</th>
            <th scope="col">Seed</th>
            <th scope="col" class="number">${value}</th>
            <th scope="col" class="number">Time</th>
            <th scope="col">Report</th>
            <th scope="col">Manifest</th>
          </tr>
        </thead>
        <tbody>
          ${points.map(
            (point) =>
              html`<tr>
                <th scope="row">${point.label}</th>
                <td>${point.seed}</td>
                <td class="number">${point.value}</td>
                <td class="number">${formatDuration(point.seconds)}</td>
                <td>${reportLinks(point.report)}</td>
                <td>${point.digest !== undefined && digestCode(point.digest)}</td>
              </tr>`,
          )}
        </tbody>
      </table>`,
    ),
  };
}

function reportLinks(report: string | undefined): Html {
  if (report === undefined) return html`<span class="missing">–</span>`;
  return html`<a href="${report}">report</a>, <a href="${report}#lineage">lineage</a>`;
}

function commandsSection({ commands }: SweepPage): Section {
  return { id: "reproduce", title: "Again", content: html`<pre><code>${commands}</code></pre>` };
}

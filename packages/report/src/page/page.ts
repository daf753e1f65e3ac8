import { createHash } from "node:crypto";
import type { ReportConfig } from "../config.js";
import { count } from "../html/format.js";
import { Html, html } from "../html/html.js";
import type { Run } from "../run.js";
import { header } from "./header.js";
import { lineageSection } from "./lineage.js";
import { pictureRules } from "./pictures.js";
import { reproduceSection } from "./reproduce.js";
import { resourcesSection } from "./resources.js";
import { orderSection, samplesSection } from "./samples.js";
import { scoresSection } from "./scores.js";
import { SCRIPT } from "./script.js";
import { section } from "./section.js";
import { STYLE } from "./style.js";
import { codecSection, dataSection, networkSection, trainingSection } from "./training.js";

/**
 * The page about a run: one HTML document that asks for nothing, allowed by its own policy to show what is inside it
 * and nothing else. Equal arguments give equal text; no clock is read.
 *
 * @param runStarted ISO time at which the run began, if anything shall be said about what was reused in it.
 */
export function renderPage(run: Run, config: ReportConfig, runStarted?: string): string {
  const sections = [
    samplesSection(run),
    orderSection(run),
    scoresSection(run),
    trainingSection(run, config.smoothing),
    dataSection(run),
    codecSection(run, config.smoothing),
    networkSection(run, config.smoothing),
    lineageSection(run),
    resourcesSection(run, runStarted),
    reproduceSection(run, config.commands),
  ].filter((each) => each !== undefined);
  const style = STYLE + pictureRules(run);
  const policy = [
    "default-src 'none'",
    "img-src data:",
    `style-src ${hashOf(style)}`,
    `script-src ${hashOf(SCRIPT)}`,
    "base-uri 'none'",
    "form-action 'none'",
  ].join("; ");
  return `${
    html`<!doctype html>
      <html lang="en">
        <head>
          <meta charset="utf-8" />
          <meta http-equiv="Content-Security-Policy" content="${policy}" />
          <meta name="viewport" content="width=device-width, initial-scale=1" />
          <meta name="color-scheme" content="light dark" />
          <meta name="referrer" content="no-referrer" />
          <title>${config.title}</title>
          <link rel="icon" href="${ICON}" />
          ${element("style", style)}
        </head>
        <body>
          <div class="page">
            ${header(run, config.title, sections)}
            <main>${sections.map(section)}</main>
            <footer>
              Written by the stage <code>report</code> from ${count(run.artifacts.size, "artifact")}. This page is
              complete: it loads nothing, and may be sent as one file.
            </footer>
          </div>
          ${element("script", SCRIPT)}
        </body>
      </html>`.text
  }\n`;
}

/** Four blocks, three of them drawn. */
const ICON =
  "data:image/svg+xml," +
  encodeURIComponent(
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><path fill="#3b84b5" d="M1 1h6v6H1zM9 1h6v6H9zM1 9h6v6H1z"/><path fill="#3b84b5" opacity=".35" d="M9 9h6v6H9z"/></svg>',
  );

/** As a policy names an inline style or script. */
function hashOf(text: string): string {
  return `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
}

/** A style or script whose text is exactly this one, as its hash demands. */
function element(name: "style" | "script", text: string): Html {
  return new Html(`<${name}>${text}</${name}>`);
}

import type { ReportConfig } from "../config.js";
import { count } from "../html/format.js";
import { html } from "../html/html.js";
import type { Run } from "../run.js";
import { classesSection } from "./classes.js";
import { documentOf } from "./document.js";
import { header } from "./header.js";
import { lineageSection } from "./lineage.js";
import { pictureRules } from "./pictures.js";
import { reproduceSection } from "./reproduce.js";
import { resourcesSection } from "./resources.js";
import { orderSection, samplesSection } from "./samples.js";
import { scoresSection } from "./scores.js";
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
    classesSection(run),
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
  return documentOf(
    config.title,
    STYLE + pictureRules(run),
    html`<div class="page">
      ${header(run, config.title, sections)}
      <main>${sections.map(section)}</main>
      <footer>
        Written by the stage <code>report</code> from ${count(run.artifacts.size, "artifact")}. This page is complete:
        it loads nothing, and may be sent as one file.
      </footer>
    </div>`,
  );
}

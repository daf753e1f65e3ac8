/**
 * One page about a run: samples, curves, scores and where they come from.
 *
 * Reading order: `stages/report.ts` (the stage), `run.ts` (what is read), `lineage/lineage.ts` (what belongs together),
 * `page/page.ts` (what is written), `html/html.ts` (why nothing in the data can be markup).
 */
export { stage as reportStage, RUN_STARTED } from "./stages/report.js";
export { ReportConfig } from "./config.js";
export { readRun, type Run } from "./run.js";
export { renderPage } from "./page/page.js";

/**
 * One page about a run, or about a sweep: samples, curves, scores and where they come from.
 *
 * Reading order: `stages/report.ts` (the stage), `run.ts` (what is read), `lineage/lineage.ts` (what belongs together),
 * `page/page.ts` (what is written), `html/html.ts` (why nothing in the data can be markup), `sweep/page.ts` (the page
 * of many runs).
 */
export { stage as reportStage, RUN_STARTED } from "./stages/report.js";
export { ReportConfig } from "./config.js";
export { readRun, type Run } from "./run.js";
export { renderPage } from "./page/page.js";
export { renderSweep } from "./sweep/page.js";
export { sweepSvg } from "./sweep/chart.js";
export { sampledSeeds, samplePictures } from "./sweep/samples.js";
export type { SweepMark, SweepPage, SweepPlot, SweepPointRow, SweepSamples, SweepTable } from "./sweep/data.js";
export type { Picture } from "./read/pictures.js";

/**
 * Sweeps: many points of one pipeline, what they share, and what their numbers say.
 *
 * Reading order: `../plain/sweep-file.mjs` (the file and the points it means), `points.ts` (points as pipelines, checked),
 * `jobs.ts` (what they share).
 */
export { readSweep, sweepNames, type Sweep } from "./sweep.js";
export { labelOf, runsOf, type PointRun, type PointStage, type Source } from "./points.js";
export { jobsOf, titleOf, type Job, type Owner } from "./jobs.js";

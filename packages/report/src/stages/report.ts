import { defineStage } from "@madformer/stage";
import { ReportConfig } from "../config.js";
import { formatBytes } from "../html/format.js";
import { INPUTS } from "../inputs.js";
import { renderPage } from "../page/page.js";
import { readRun } from "../run.js";
import { mainGroup } from "../read/facts.js";

/**
 * When `npm run reproduce` began, ISO 8601: with it the page says which stages were computed since, and which reused.
 */
export const RUN_STARTED = "MADFORMER_RUN_STARTED";

/**
 * Stage `report`: everything about a run in, one page out.
 *
 * Reads   manifests and records of all inputs; score: facts; sample: images/, order.png; train: losses.jsonl, samples/;
 *         vae: losses.jsonl, reconstructions.png; net: losses.jsonl; shards: the first images
 * Writes  <out>/index.html
 *
 * The page is a function of the inputs' manifests and records, the config, and `MADFORMER_RUN_STARTED`. The last
 * decides one column and one sentence, which name the run they speak of; without it nothing is said about reuse.
 *
 * @throws {DataError} If there is no input, or one holds what its stage would not write.
 */
export const stage = defineStage({
  name: "report",
  summary: "One page about a run: samples, curves, scores and where they come from",
  config: ReportConfig,
  inputs: INPUTS,
  idle(_config, inputs) {
    const shown = { samples: "sample", examples: "shards", frames: "train" };
    const missing = Object.entries(shown).filter(([, input]) => !inputs.has(input));
    return Object.fromEntries(missing.map(([field, input]) => [field, `without the input "${input}"`]));
  },
  async run(config, inputs, { files, signal, log }) {
    const run = await readRun(inputs, config, signal);
    for (const problem of run.lineage.problems) log.warn(problem);
    const page = renderPage(run, config, runStarted(log));
    await files.write("index.html", page);
    log.info(`index.html, ${formatBytes(Buffer.byteLength(page))}: open it in a browser`);
    const group = run.score && mainGroup(run.score.groups);
    return {
      title: config.title,
      stages: [...run.artifacts.keys()],
      problems: [...run.lineage.problems],
      ...(run.score && group && { metric: run.score.metric, score: run.score.final ?? group.distance }),
    };
  },
});

function runStarted(log: { warn(message: string): void }): string | undefined {
  const text = process.env[RUN_STARTED];
  if (text === undefined || text === "") return undefined;
  const time = new Date(text);
  if (!Number.isNaN(time.getTime())) return time.toISOString();
  log.warn(`The page says nothing about reuse: ${RUN_STARTED} is ${JSON.stringify(text)}, expected an ISO time`);
  return undefined;
}

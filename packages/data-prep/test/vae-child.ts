/**
 * Runs stage `vae` in a process of its own, for tests that kill it: `vae-child.ts <shards> <out>`. Prints its progress.
 */
import { writeSync } from "node:fs";
import { openFolder } from "@madformer/artifacts";
import { contextIn } from "../src/testing.js";
import { stage, VaeConfig } from "../src/stages/vae.js";

const [shards = "", out = ""] = process.argv.slice(2);
const config = VaeConfig.parse({
  ...{ source: "train", channels: [4], groups: 2, steps: 60, batchImages: 2, checkpointSteps: 7, pairs: 2 },
});
const context = await contextIn(out);
const log = { ...context.log, progress: (label: string, done: number) => void writeSync(1, `${label} ${done}\n`) };
await stage.run(config, { shards: await openFolder(shards) }, { ...context, log });

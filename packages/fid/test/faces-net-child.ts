/**
 * Trains in a process of its own, for a test that kills it: `faces-net-child.ts <shards> <out>`. A line for each step.
 */
import { writeSync } from "node:fs";
import { openFolder } from "@madformer/artifacts";
import { contextIn } from "../src/faces-net/testing.js";
import { stage } from "../src/stages/faces-net.js";

const [shards = "", out = ""] = process.argv.slice(2);
const context = await contextIn(out);
const log = { ...context.log, progress: (_: string, done: number) => void writeSync(1, `${done}\n`) };
const config = stage.config.parse({ steps: 24, batchImages: 4, dims: 64, checkpointSteps: 3 });
await stage.run(config, { shards: await openFolder(shards) }, { ...context, log });

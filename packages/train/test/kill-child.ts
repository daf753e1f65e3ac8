/**
 * Trains in a process of its own, for tests that kill it: `kill-child.ts <latents> <out> [step] [operation]`. Prints a
 * line for each step. With numbers it kills itself, with SIGKILL, in the middle of an operation on files: that one,
 * counted from the first after the step. At the end it prints how many operations there were in the whole run.
 */
import { writeSync } from "node:fs";
import fs from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { stage } from "../src/stages/train.js";
import { artifactOf, contextIn, tinyConfig } from "../src/testing.js";

const [latents = "", out = "", afterStep = "0", operation = "0"] = process.argv.slice(2);

let [operations, counting] = [0, false];

/** Counts an operation; in the one to die in, does a part of it first. */
async function maybeDie(part?: () => Promise<unknown>): Promise<void> {
  if (!counting || ++operations !== Number(operation)) return;
  await part?.();
  process.kill(process.pid, "SIGKILL");
  await new Promise(() => undefined); // the signal is on its way
}

type Method = (...args: unknown[]) => Promise<unknown>;

function wrap(
  target: Record<string, Method>,
  name: string,
  part?: (self: unknown, args: unknown[]) => Promise<unknown>,
) {
  const original = target[name] as Method;
  target[name] = async function (this: unknown, ...args: unknown[]) {
    await maybeDie(part && (() => part(this, args)));
    return original.apply(this, args);
  };
}

const handle = await fs.open(process.execPath, "r");
const handles = Object.getPrototypeOf(handle) as Record<string, Method>;
await handle.close();
const { write, appendFile } = handles as { write: Method; appendFile: Method };
wrap(handles, "write", (self, [bytes, offset, length, position]) =>
  write.call(self, bytes, offset, Math.floor((length as number) / 2), position),
);
wrap(handles, "appendFile", (self, [data]) =>
  appendFile.call(self, (data as string | Uint8Array).slice(0, Math.floor((data as string).length / 2))),
);
for (const name of ["sync", "truncate"]) wrap(handles, name);
for (const name of ["open", "mkdir", "rename", "rm"]) wrap(fs as unknown as Record<string, Method>, name);
syncBuiltinESMExports();

// Progress is reported a few times a second: here every look at the clock finds a second gone.
let clock = 0;
performance.now = () => (clock += 1000);

const context = await contextIn(out);
const config = tinyConfig({
  steps: 48,
  checkpointEvery: 4,
  keepLast: 2,
  keepAt: [0.3],
  sampleEvery: 24,
  sampleImages: 1,
  sampleSteps: 4,
});
const log = {
  ...context.log,
  progress: (_: string, done: number): void => {
    counting ||= done >= Number(afterStep);
    writeSync(1, `${done}\n`);
  },
};
await stage.run(config, { latents: await artifactOf(latents), from: undefined }, { ...context, log });
writeSync(1, `operations ${operations}\n`);

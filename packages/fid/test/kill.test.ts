/** A training that is killed, for real, in the middle of anything. */
import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { listFiles } from "@madformer/artifacts";
import { inFolder, squareShards } from "../src/faces-net/testing.js";

const CHILD = fileURLToPath(new URL("faces-net-child.ts", import.meta.url));

/**
 * Runs the training.
 *
 * @param killAfter Step and milliseconds after which it is killed.
 * @returns Steps that it did, and how it ended.
 */
async function run(shards: string, out: string, killAfter?: readonly [step: number, ms: number]) {
  const child = spawn(process.execPath, ["--import", "tsx", CHILD, shards, out], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const steps: number[] = [];
  const ended = new Promise<NodeJS.Signals | number | null>((resolve) =>
    child.once("close", (code, signal) => resolve(signal ?? code)),
  );
  for await (const line of createInterface(child.stdout)) {
    steps.push(Number(line));
    if (killAfter && steps.at(-1) === killAfter[0]) void sleep(killAfter[1]).then(() => child.kill("SIGKILL"));
  }
  return { steps, ended: await ended };
}

test("killed at any moment, a training goes on to the same bytes", () =>
  inFolder(async (folder) => {
    const shards = join(folder, "shards");
    await squareShards(shards, 40);
    const [whole, parted] = [join(folder, "whole"), join(folder, "parted")];
    expect((await run(shards, whole)).ended).toBe(0);

    // Those at 9, 15 and 18 fall into the writing of a state, which follows steps 3, 6, 9, ...
    let last = 0;
    for (const [step, ms] of [
      [4, 0],
      [9, 2],
      [15, 6],
      [18, 4],
    ] as const) {
      const { steps, ended } = await run(shards, parted, [step, ms]);
      expect(ended).toBe("SIGKILL");
      const [first = 0] = steps;
      if (last > 3) expect(first).toBeGreaterThan(last - 4); // three steps are lost at most, the one under way besides
      last = steps.at(-1)!;
    }
    const { steps, ended } = await run(shards, parted);
    expect([ended, steps.at(-1)]).toEqual([0, 24]);
    expect(steps.length).toBeLessThan(14);

    const files = await listFiles(whole, ["tmp", "logs"]);
    expect(files).toEqual(["losses.jsonl", "net.json", "net.safetensors"]);
    expect(await listFiles(parted, ["tmp", "logs"])).toEqual(files);
    for (const file of files)
      expect((await readFile(join(parted, file))).equals(await readFile(join(whole, file)))).toBe(true);
  }));

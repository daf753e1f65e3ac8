/**
 * Takes a lock again and again, for the tests:
 * `lock-child.ts <lock> <file> <milliseconds> <milliseconds inside> <silentMs>`. While it holds the lock it writes its
 * own mark to the file and looks whether the mark stays: it would not if another were inside. Prints a word for each
 * thing that happens.
 */
import { randomBytes } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { takeLock } from "../src/store/lock.js";

const [path = "", file = "", milliseconds, inside, silentMs] = process.argv.slice(2);
const end = performance.now() + Number(milliseconds);
process.stdout.write("ready\n");
while (performance.now() < end) {
  await using lock = await takeLock(path, { silentMs: Number(silentMs) });
  const mark = randomBytes(8).toString("hex");
  await writeFile(file, mark);
  process.stdout.write("inside\n");
  await sleep(Number(inside));
  if ((await readFile(file, "utf8")) !== mark || lock.signal.aborted) process.stdout.write("two\n");
  await lock.assertHeld();
}

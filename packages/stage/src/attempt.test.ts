import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { jest } from "@jest/globals";
import { Stopwatch } from "./attempt.js";

test("a stopwatch that was stopped writes nothing any more: its folder can be removed", async () => {
  const folder = await mkdtemp(join(tmpdir(), "attempt-"));
  const notes: (() => void)[] = [];
  const every = jest.spyOn(globalThis, "setInterval").mockImplementation(((note: () => void) => {
    notes.push(note);
    return { unref: () => notes.length };
  }) as never);
  const clear = jest.spyOn(globalThis, "clearInterval").mockImplementation(() => void notes.splice(0));
  try {
    const path = join(folder, "attempt.json");
    const watch = await Stopwatch.start(path);
    notes[0]?.();
    await watch.stop();
    await rm(path);
    notes[0]?.();
    await sleep(50);
    expect(existsSync(path)).toBe(false);
  } finally {
    every.mockRestore();
    clear.mockRestore();
    await rm(folder, { recursive: true });
  }
});

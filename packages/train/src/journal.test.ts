import { appendFile, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Journal, journalSteps } from "./journal.js";
import { temporaryFolder } from "./testing.js";

const line = (step: number): string => `{"step":${step},"loss":0.5}\n`;

describe("Journal", () => {
  test.each([
    ["a later step", line(3) + line(6) + line(9), line(3) + line(6)],
    ["a line that was not finished", line(3) + line(6) + '{"step":9,"lo', line(3) + line(6)],
    ["a line that was not finished, of an earlier step", line(3) + '{"step":6,"lo', line(3)],
    ["a line that is no JSON, and all after it", line(3) + "\0\0\n" + line(6), line(3)],
    ["everything", line(8) + line(9), ""],
    ["nothing", line(3) + line(6), line(3) + line(6)],
  ])("goes on after a step and cuts off %s", async (_, before, after) => {
    await using folder = await temporaryFolder("journal");
    const path = join(folder.path, "losses.jsonl");
    await writeFile(path, before);
    {
      await using journal = await Journal.open(path, 7);
      await journal.append({ step: 9, new: true });
      await journal.sync();
    }
    expect(await readFile(path, "utf8")).toBe(`${after}{"step":9,"new":true}\n`);
  });

  test("begins a file that is not there", async () => {
    await using folder = await temporaryFolder("journal");
    const path = join(folder.path, "losses.jsonl");
    expect(await journalSteps(path)).toEqual([]);
    await using journal = await Journal.open(path, 7);
    expect(await readFile(path, "utf8")).toBe("");
    await journal.append({ step: 8 });
    expect(await journalSteps(path)).toEqual([8]);
  });

  test("is read in pieces", async () => {
    await using folder = await temporaryFolder("journal");
    const path = join(folder.path, "losses.jsonl");
    const text = Array.from({ length: 5000 }, (_, i) => line(i + 1)).join(""); // more than one piece of 64 KiB
    await appendFile(path, text);
    expect(await journalSteps(path)).toEqual(Array.from({ length: 5000 }, (_, i) => i + 1));
    await (await Journal.open(path, 4321))[Symbol.asyncDispose]();
    expect(await journalSteps(path)).toHaveLength(4321);
  });
});

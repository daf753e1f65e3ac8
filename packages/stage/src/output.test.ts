import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Made } from "@madformer/artifacts";
import { oddOutput, showOutput } from "./output.js";
import { bench, program, runAll, twoStages, type Bench } from "./testing.js";

/** What a stage made that has many files. */
async function manyFiles(on: Bench): Promise<Made> {
  const { first } = await runAll(on, await twoStages(on, { times: 30 }), program("v1"));
  return first!;
}

describe("showOutput()", () => {
  test("puts whole files where several do so at the same time", async () => {
    await using on = await bench();
    const made = await manyFiles(on);
    for (let round = 0; round < 3; round++) {
      await rm(join(on.root, "q"), { recursive: true, force: true });
      const all = Array.from({ length: 8 }, () => showOutput(join(on.root, "q"), "first", made, on.store));
      const [out = ""] = await Promise.all(all);
      expect(await oddOutput(out, made, on.store)).toBeUndefined();
    }
  });

  test("replaces what lies in the way, a folder included", async () => {
    await using on = await bench();
    const made = await manyFiles(on);
    const out = join(on.root, "q/out/first");
    await mkdir(join(out, "files/0.txt/deep"), { recursive: true });
    await writeFile(join(out, "files/1.txt"), "another");
    await showOutput(join(on.root, "q"), "first", made, on.store);
    expect(await oddOutput(out, made, on.store)).toBeUndefined();
    expect(await readFile(join(out, "files/1.txt"), "utf8")).not.toBe("another");
  });
});

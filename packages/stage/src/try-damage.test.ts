import { appendFile, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { defineStage } from "./stage.js";
import { bench, repeatStage } from "./testing.js";
import { tryDamage } from "./try-damage.js";

describe("tryDamage()", () => {
  test("finds nothing wrong with a stage that asks what is finished", async () => {
    await using on = await bench();
    const { stage, made } = repeatStage();
    const trial = { stage, config: stage.config.parse({ times: 3 }), inputs: { words: await on.words("hi") } };
    expect(await tryDamage({ ...trial, stopAfter: 2 }, on.root)).toEqual({
      files: ["0.txt", "1.txt", "2.txt"],
      left: ["0.txt", "1.txt"],
      problems: [],
    });
    expect(made).toHaveLength(3 + 2 * 3 + 2 + 2 * 2 + 1); // whole, damaged, interrupted, that damaged, that resumed
  });

  test("finds a stage that goes on from damage, one that makes whole files again, and one that never ends early", async () => {
    await using on = await bench();
    const counting = defineStage({
      name: "counting",
      summary: "counts to three in tmp/, and does not say so",
      config: z.strictObject({}),
      inputs: {},
      async run(_config, _inputs, { out, files, signal, log }) {
        const path = join(out, "tmp", "count");
        const count = (): Promise<string> => readFile(path, "utf8").catch(() => "");
        await files.write("title", "1 2 3");
        while ((await count()).length < 3) {
          signal.throwIfAborted();
          await appendFile(path, String((await count()).length));
          log.info(await count());
        }
        await writeFile(join(out, "counted"), await count());
        await files.keep("counted");
        return {};
      },
    });
    const trial = { stage: counting, config: {}, inputs: {} };
    const { left, problems } = await tryDamage({ ...trial, stopAfter: 2 }, on.root);
    expect(left).toEqual(["title", "tmp/count"]);
    expect(problems).toEqual([
      expect.stringMatching(/^interrupted, then one bit of tmp\/count flipped: [0-9a-f]{64}, expected manifest/),
      "title was whole, and made again",
    ]);
    await using other = await bench();
    expect((await tryDamage({ ...trial, stopAfter: 4 }, other.root)).problems).toContainEqual(
      expect.stringMatching(/^interrupted after 4 reports: [0-9a-f]{64}$/),
    );
  });
});

import { chmod, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { sha256 } from "@madformer/artifacts";
import { explain, recordChanges } from "./explain.js";
import type { BundleDigest } from "./run.js";
import type { Stage } from "./stage.js";
import { bench, engines, program, runAll, twoStages, type Bench, type TwoStages } from "./testing.js";

function ask(on: Bench, { pipeline, stages }: TwoStages, code: BundleDigest, name = "second") {
  return explain(pipeline, name, {
    store: on.store,
    stage: async (uses) => stages[uses] as Stage<never>,
    program: async () => code,
  });
}

describe("explain()", () => {
  test("says that nothing has run, and then that nothing has to", async () => {
    await using on = await bench();
    const all = await twoStages(on);
    expect(await ask(on, all, program("v1"))).toEqual([
      { name: "first", state: "runs", reasons: ["it has not run before"] },
      { name: "second", state: "waits", reasons: ["waits for first"] },
    ]);
    await runAll(on, all, program("v1"));
    expect((await ask(on, all, program("v1"))).map(({ state }) => state)).toEqual(["known", "known"]);
    expect(await ask(on, all, program("v1"), "first")).toHaveLength(1);
    const other = { ...all.pipeline.stages[0]!, name: "other" };
    const three = { ...all, pipeline: { ...all.pipeline, stages: [...all.pipeline.stages, other] } };
    expect((await ask(on, three, program("v1"))).map(({ name }) => name)).toEqual(["first", "second"]);
    const everything = await explain(three.pipeline, undefined, {
      store: on.store,
      stage: async (uses) => all.stages[uses] as Stage<never>,
      program: async () => program("v1"),
    });
    expect(everything.map(({ name }) => name)).toEqual(["first", "second", "other"]);
  });

  test("names the field of the config that changed, and what waits for it", async () => {
    await using on = await bench();
    await runAll(on, await twoStages(on), program("v1"));
    expect(await ask(on, await twoStages(on, { suffix: "!" }), program("v1"))).toEqual([
      { name: "first", state: "runs", reasons: ['config.suffix: "", now "!"'] },
      { name: "second", state: "waits", reasons: ["waits for first"] },
    ]);
  });

  test("names the engine that changed, in the pipeline or in the environment", async () => {
    await using on = await bench();
    const all = await twoStages(on);
    const { computing } = engines();
    const mixed = { ...all, stages: { ...all.stages, second: { ...all.stages["second"]!, computing } } };
    await runAll(on, mixed, program("v1"));
    try {
      process.env["MADFORMER_ENGINE"] = "two";
      expect(await ask(on, mixed, program("v1"))).toEqual([
        { name: "first", state: "known", reasons: [] },
        { name: "second", state: "runs", reasons: ['engine: "one", now "two"'] },
      ]);
    } finally {
      delete process.env["MADFORMER_ENGINE"];
    }
    expect((await ask(on, mixed, program("v1"))).map(({ state }) => state)).toEqual(["known", "known"]);
  });

  test("names the input that is another", async () => {
    await using on = await bench();
    await runAll(on, await twoStages(on), program("v1"));
    const changed = await twoStages(on, { suffix: "!" });
    await runAll(
      on,
      { ...changed, pipeline: { ...changed.pipeline, stages: changed.pipeline.stages.slice(0, 1) } },
      program("v1"),
    );
    const [first, second] = await ask(on, changed, program("v1"));
    expect(first).toMatchObject({ state: "known" });
    expect(second).toMatchObject({
      state: "runs",
      reasons: [expect.stringMatching(/^input words is another: [0-9a-f]{12}, now [0-9a-f]{12}$/)],
    });
  });

  test("names the source files that changed in a program, and its packages", async () => {
    await using on = await bench();
    const all = await twoStages(on);
    const write = async (name: string, a: number, externals: string[]): Promise<BundleDigest> => {
      const path = join(on.root, name);
      await writeFile(
        path,
        `// externals: x\n// packages/sample/src/a.ts\nvar a = ${a};\n\n// packages/sample/src/b.ts\nvar b = 1;\n`,
      );
      return { sha256: sha256(await readFile(path)), externals, path };
    };
    await runAll(on, all, await write("one.mjs", 1, ["zod@4.0.0"]));
    const [first] = await ask(on, all, await write("two.mjs", 2, ["zod@4.0.1"]), "first");
    expect(first).toEqual({
      name: "first",
      state: "runs",
      reasons: ["package zod@4.0.1 is new", "package zod@4.0.0 is gone", "packages/sample/src/a.ts is another"],
    });
  });

  test("recordChanges() says what two runs differ in: config, source files, inputs", async () => {
    await using on = await bench();
    const write = async (name: string, a: number): Promise<BundleDigest> => {
      const path = join(on.root, name);
      await writeFile(path, `// externals: x\n// packages/sample/src/a.ts\nvar a = ${a};\n`);
      return { sha256: sha256(await readFile(path)), externals: [], path };
    };
    const base = await runAll(on, await twoStages(on), await write("one.mjs", 1));
    const head = await runAll(on, await twoStages(on, { suffix: "!" }), await write("two.mjs", 2));
    const changes = (name: string) => recordChanges(on.store, base[name]!.record, head[name]!.record);
    expect(await changes("first")).toEqual(['config.suffix: "", now "!"', "packages/sample/src/a.ts is another"]);
    expect(await changes("second")).toEqual([
      "packages/sample/src/a.ts is another",
      expect.stringMatching(/^input words is another: [0-9a-f]{12}, now [0-9a-f]{12}$/),
    ]);
    expect(await recordChanges(on.store, base["first"]!.record, base["first"]!.record)).toEqual([]);
  });

  test("finds what is damaged", async () => {
    await using on = await bench();
    const all = await twoStages(on);
    const made = await runAll(on, all, program("v1"));
    const path = on.store.objectPath(made["first"]?.manifest.files["1.txt"]?.sha256 ?? "");
    await chmod(path, 0o644);
    await writeFile(path, "x");
    expect((await ask(on, all, program("v1")))[0]).toEqual({
      name: "first",
      state: "damaged",
      reasons: ["1 files are missing or damaged, such as 1.txt"],
    });
  });
});

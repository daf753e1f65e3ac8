import { chmod, mkdir, readdir, readFile, rename, rm, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pipelineStatus } from "./status.js";
import { bench, engines, program, runAll, twoStages, type Bench, type TwoStages } from "./testing.js";

const code = program("v1");

/** Stages that are not current, and why. */
async function look(on: Bench, { pipeline }: TwoStages, sha256 = code.sha256): Promise<Record<string, string>> {
  const found = await pipelineStatus(pipeline, "second", { store: on.store, program: () => sha256 });
  return Object.fromEntries(found.flatMap((stage) => (stage.current ? [] : [[stage.name, stage.why]])));
}
const outOf = (on: Bench, ...path: string[]): string => join(on.root, "p/out", ...path);
async function overwrite(path: string, change: (text: string) => string): Promise<void> {
  const text = change(await readFile(path, "utf8"));
  await chmod(path, 0o644);
  await writeFile(path, text);
}

describe("pipelineStatus()", () => {
  test("finds nothing to do after a run, and everything before it", async () => {
    await using on = await bench();
    const all = await twoStages(on);
    expect(await look(on, all)).toEqual({
      first: "its output is not there, or was not checked",
      second: "waits for first",
    });
    await runAll(on, all, code);
    expect(await look(on, all)).toEqual({});
  });

  test("sees another program, another config, another outside", async () => {
    await using on = await bench();
    const place = join(on.root, "weights");
    await writeFile(place, "one");
    const all = await twoStages(on, {}, [{ path: place, by: "content" }]);
    await runAll(on, all, code);
    expect(await look(on, all)).toEqual({});
    expect(await look(on, all, program("v2").sha256)).toMatchObject({ first: "its program is another one" });
    expect(await look(on, await twoStages(on, { suffix: "!" }))).toMatchObject({
      first: "pipeline.json says something else about it",
    });
    await writeFile(place, "two");
    expect(await look(on, all)).toMatchObject({ first: "what it reads outside has changed" });
  });

  test("sees another engine in the pipeline or the environment, of the stages that compute alone", async () => {
    await using on = await bench();
    const all = await twoStages(on);
    const { second } = all.stages;
    const { computing } = engines();
    const mixed = { ...all, stages: { ...all.stages, second: { ...second!, computing } } };
    await runAll(on, mixed, code);
    expect(await look(on, mixed)).toEqual({});
    try {
      process.env["MADFORMER_ENGINE"] = "two";
      expect(await look(on, mixed)).toEqual({ second: "its engine is another one" });
      const ran = await runAll(on, mixed, code);
      expect([ran["first"]!.reused, ran["second"]!.reused, await look(on, mixed)]).toEqual([true, false, {}]);
    } finally {
      delete process.env["MADFORMER_ENGINE"];
    }
    expect(await look(on, mixed)).toEqual({ second: "its engine is another one" });
    expect((await runAll(on, mixed, code))["second"]!.reused).toBe(true);
    const named = (words: object) => ({
      ...mixed,
      pipeline: {
        ...mixed.pipeline,
        stages: mixed.pipeline.stages.map((entry) => (entry.name === "second" ? { ...entry, compute: words } : entry)),
      },
    });
    expect(await look(on, named({ engine: "two" }))).toEqual({
      second: "pipeline.json says something else about it",
    });
  });

  test("sees another version of the engine, and another folder of engines", async () => {
    await using on = await bench();
    const all = await twoStages(on);
    const installed = join(on.root, "installed");
    await writeFile(installed, "1.0");
    const second = { ...all.stages["second"]!, computing: engines(installed).computing };
    const stages = all.pipeline.stages.map((one) =>
      one.name === "second" ? { ...one, compute: { engine: "two" } } : one,
    );
    const mixed = { stages: { ...all.stages, second }, pipeline: { ...all.pipeline, stages } };
    await runAll(on, mixed, code);
    expect(await look(on, mixed)).toEqual({});
    await writeFile(installed, "1.1");
    expect(await look(on, mixed)).toEqual({ second: "its engine is another version" });
    await rm(installed);
    expect(await look(on, mixed)).toEqual({ second: "its engine is another version" });
    await writeFile(installed, "1.0");
    expect(await look(on, mixed)).toEqual({}); // the same bytes, written again
    try {
      process.env["MADFORMER_ENGINES"] = on.root;
      expect(await look(on, mixed)).toEqual({ second: "its folder of engines is another one" });
      await runAll(on, mixed, code);
      expect(await look(on, mixed)).toEqual({});
    } finally {
      delete process.env["MADFORMER_ENGINES"];
    }
    expect(await look(on, mixed)).toEqual({ second: "its folder of engines is another one" });
  });

  /** Everything that may happen to what is kept. */
  const DAMAGES: Record<string, (on: Bench, all: Awaited<ReturnType<typeof runAll>>) => Promise<unknown>> = {
    "a byte of an object": (on, { first }) =>
      overwrite(on.store.objectPath(first!.manifest.files["1.txt"]!.sha256), (text) => text.replace("h", "j")),
    "a byte of a file in out, which is the object": (on) =>
      overwrite(outOf(on, "first/files/0.txt"), (text) => text.replace("h", "j")),
    "two files of out swapped": async (on) => {
      const [a, b] = [outOf(on, "first/files/0.txt"), outOf(on, "first/files/1.txt")];
      await rename(a, `${a}.x`);
      await rename(b, a);
      await rename(`${a}.x`, b);
    },
    "an object removed": (on, { second }) => unlink(on.store.objectPath(second!.manifest.files["0.txt"]!.sha256)),
    "a file of out removed": (on) => unlink(outOf(on, "second/files/0.txt")),
    "a file of out replaced by an equal one": async (on) => {
      await rm(outOf(on, "second/files/0.txt"));
      await writeFile(outOf(on, "second/files/0.txt"), "hi00");
    },
    "the folder of objects replaced by a file": async (on) => {
      await rm(join(on.store.root, "objects"), { recursive: true });
      await writeFile(join(on.store.root, "objects"), "");
      await on.words("hi");
    },
    "the folder of keys replaced by a file": async (on) => {
      await rm(join(on.store.root, "keys"), { recursive: true });
      await writeFile(join(on.store.root, "keys"), "");
    },
    "a stranger in out": (on) => writeFile(outOf(on, "first/files/2.txt"), "me too"),
    "all of out removed": (on) => rm(outOf(on), { recursive: true }),
    "a folder of out that is a file": async (on) => {
      await rm(outOf(on, "first"), { recursive: true });
      await writeFile(outOf(on, "first"), "");
    },
    "a manifest with other facts": (on) =>
      overwrite(outOf(on, "first/manifest.json"), (text) => text.replace('"files": 2', '"files": 3')),
    "a record with other seconds": (on) =>
      overwrite(outOf(on, "first/record.json"), (text) => text.replace(/"seconds": [\d.]+/, '"seconds": 0.5')),
    "a manifest that is a folder": async (on) => {
      await rm(outOf(on, "first/manifest.json"));
      await mkdir(outOf(on, "first/manifest.json/x"), { recursive: true });
    },
    "the check damaged": (on) =>
      overwrite(outOf(on, "first/checked.json"), (text) => text.replace(/[0-9a-f]{12}/, "0".repeat(12))),
    "the key damaged": async (on, { first }) =>
      overwrite(join(on.store.root, "keys", `${first!.record.key}.json`), (text) =>
        text.replace('"files":2', '"files":3'),
      ),
    "all keys removed": (on) => rm(join(on.store.root, "keys"), { recursive: true }),
    "a log damaged": (on) => overwrite(outOf(on, "first/logs/events.jsonl"), () => "{}\n"),
    "a log removed from the store": (on, { first }) =>
      unlink(on.store.objectPath(first!.record.logs["logs/events.jsonl"]!.sha256)),
    "the output of one stage in the other's place": async (on) => {
      await rm(outOf(on, "second"), { recursive: true });
      await rename(outOf(on, "first"), outOf(on, "second"));
    },
  };
  test.each(Object.keys(DAMAGES))("sees %s, and a run makes it as it was", async (name) => {
    await using on = await bench();
    const all = await twoStages(on);
    const made = await runAll(on, all, code);
    // What was found and mended once is found again; a log is not mended.
    const times = name.startsWith("a log") ? 1 : 2;
    for (let time = 0; time < times; time++) {
      await DAMAGES[name]!(on, made);
      expect(await look(on, all)).not.toEqual({});
      const again = await runAll(on, all, code);
      expect(again["first"]?.manifest).toEqual(made["first"]?.manifest);
      expect(again["second"]?.manifest).toEqual(made["second"]?.manifest);
      expect(await look(on, all)).toEqual({});
      expect(await readFile(outOf(on, "first/files/1.txt"), "utf8")).toBe("hi1");
      expect((await readdir(outOf(on, "first/files"))).sort()).toEqual(["0.txt", "1.txt"]);
    }
  });

  test("shows the same bytes whether it was just made or comes from the store, as after a kill in between", async () => {
    await using on = await bench();
    const all = await twoStages(on, { times: 3, suffix: "!" });
    await runAll(on, all, code);
    const texts = () =>
      Promise.all(["record.json", "manifest.json"].map((file) => readFile(outOf(on, "first", file), "utf8")));
    const before = await texts();
    await rm(outOf(on), { recursive: true });
    await runAll(on, all, code);
    expect(await texts()).toEqual(before);
  });

  test("computes nothing again because a note of the store is lost: what is shown was written about the same key", async () => {
    await using on = await bench();
    const all = await twoStages(on);
    await runAll(on, all, code);
    await rm(join(on.store.root, "keys"), { recursive: true });
    const again = await runAll(on, all, code);
    expect(Object.values(again).map(({ reused }) => reused)).toEqual([true, true]);
    expect(await on.store.keys()).toHaveLength(2);
  });
});

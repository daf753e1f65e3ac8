import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { jest } from "@jest/globals";
import { digestFile, openFolder } from "@madformer/artifacts";
import type { ComputeWords } from "./compute.js";
import { parseConfig } from "./config.js";
import { differ, runInFolder } from "./folder.js";
import { bench, engines, program, repeatStage, type Bench, type Hooks } from "./testing.js";

async function run(on: Bench, config: object = {}, hooks: Hooks = {}, folder = "out") {
  const { stage, made } = repeatStage(hooks);
  const inputs = { words: await on.words("hi") };
  const options = { program: program("v1"), signal: new AbortController().signal, stream: on.stream };
  const result = await runInFolder(stage, parseConfig(stage, config), inputs, join(on.root, folder), options);
  return { ...result, made };
}

describe("runInFolder()", () => {
  test("leaves files, a record and a manifest that can be read as an input", async () => {
    await using on = await bench();
    const { manifest } = await run(on);
    const out = join(on.root, "out");
    expect((await readdir(out)).sort()).toEqual([
      ".madformer.json",
      "0.txt",
      "1.txt",
      "logs",
      "manifest.json",
      "record.json",
      "tmp",
    ]);
    const artifact = await openFolder(out, on.store);
    expect(artifact.manifest).toEqual(manifest);
    expect(artifact.record?.stage).toBe("repeat");
    expect(await readFile(await artifact.path("0.txt"), "utf8")).toBe("hi0");
    expect(artifact.record?.logs["logs/events.jsonl"]).toEqual(await digestFile(join(out, "logs/events.jsonl")));
  });

  test("finds everything done the second time, and makes what is gone", async () => {
    await using on = await bench();
    await run(on);
    expect(await run(on)).toMatchObject({ reused: true, made: [] });
    await rm(join(on.root, "out", "1.txt"));
    expect(await run(on)).toMatchObject({ reused: false, made: ["1.txt"] });
  });

  test("holds what one engine made: another takes another folder, and so do other threads", async () => {
    await using on = await bench();
    const { computing } = engines();
    const runOn = async (compute: ComputeWords, folder = "out") => {
      const { stage } = repeatStage();
      const options = { program: program("v1"), signal: new AbortController().signal, stream: on.stream, compute };
      const inputs = { words: await on.words("hi") };
      return runInFolder({ ...stage, computing }, parseConfig(stage, {}), inputs, join(on.root, folder), options);
    };
    const first = await runOn({ threads: 2 });
    expect(first.record.compute).toEqual({ engine: "one", precision: "plain", threads: 2 });
    expect((await runOn({ engine: "one", threads: 2 })).reused).toBe(true);
    await expect(runOn({})).rejects.toThrow(/another command \(compute.threads: 2, now nothing\)/);
    await expect(runOn({ engine: "two", threads: 2 })).rejects.toThrow(
      /it holds the output of another command \(compute.engine: "one", now "two"\); name another folder/,
    );
    const other = await runOn({ engine: "two", precision: "rough" }, "other");
    expect(other.record.compute).toEqual({ engine: "two", precision: "rough" });
    expect(other.record.key).not.toBe(first.record.key);
  });

  test.each<[string, (path: string) => Promise<unknown>]>([
    ["flipped", (path) => writeFile(path, "jo1")],
    ["emptied", (path) => writeFile(path, "")],
    ["removed", (path) => rm(path)],
  ])("makes a file that was %s again, and does not take the damage for its own", async (_, damage) => {
    await using on = await bench();
    const { manifest } = await run(on);
    for (let time = 0; time < 2; time++) {
      await damage(join(on.root, "out", "1.txt"));
      const again = await run(on);
      expect([again.made, again.manifest]).toEqual([["1.txt"], manifest]);
    }
    expect(on.said()).toContain("1.txt was damaged or lost, making it again");
  });

  test("makes a file that was damaged after a failure again", async () => {
    await using on = await bench();
    const fail = { onFile: (name: string) => (name === "1.txt" ? Promise.reject(new Error("power cut")) : undefined) };
    await expect(run(on, {}, fail)).rejects.toThrow("power cut");
    await writeFile(join(on.root, "out", "0.txt"), "jo0");
    expect((await run(on)).made).toEqual(["0.txt", "1.txt"]);
    expect(on.said()).toContain("0.txt was damaged or lost since the attempt before");
  });

  test.each([
    ["manifest.json", '"files": 2', '"files": 3'],
    ["record.json", '"attempts": 1', '"attempts": 7'],
    ["manifest.json", "{", "["],
    ["record.json", "{", "["],
  ])("writes a damaged %s again (%j)", async (file, before, after) => {
    await using on = await bench();
    const { manifest } = await run(on);
    const path = join(on.root, "out", file);
    await writeFile(path, (await readFile(path, "utf8")).replace(before, after));
    expect(await run(on)).toMatchObject({ manifest, made: [] });
    expect((await openFolder(join(on.root, "out"), on.store)).manifest).toEqual(manifest);
  });

  test("takes no file of somebody else's for its own, and leaves it alone", async () => {
    await using on = await bench();
    const { manifest } = await run(on);
    await writeFile(join(on.root, "out", "notes.txt"), "mine");
    await rm(join(on.root, "out", "0.txt"));
    expect((await run(on)).manifest).toEqual(manifest);
    expect(await readFile(join(on.root, "out", "notes.txt"), "utf8")).toBe("mine");
  });

  test("goes on after a failure", async () => {
    await using on = await bench();
    const fail = { onFile: (name: string) => (name === "1.txt" ? Promise.reject(new Error("power cut")) : undefined) };
    await expect(run(on, {}, fail)).rejects.toThrow("power cut");
    const { made, record } = await run(on);
    expect([made, record.attempts]).toEqual([["1.txt"], 2]);
  });

  test("refuses a folder with the output of another command, and says what differs", async () => {
    await using on = await bench();
    await run(on);
    await expect(run(on, { times: 5 })).rejects.toThrow(
      /it holds the output of another command \(config.times: 2, now 5\)/,
    );
  });

  test("goes on to another config where the stage says that it can, and else says why not", async () => {
    await using on = await bench();
    const { stage, made } = repeatStage();
    const goesOn = (before: unknown, now: { times: number }): true | string | undefined => {
      const { times } = before as { times: number };
      return now.times > 3 ? "three are enough" : now.times > times ? true : undefined;
    };
    const inputs = { words: await on.words("hi") };
    const out = join(on.root, "out");
    const options = { program: program("v1"), signal: new AbortController().signal, stream: on.stream };
    const again = async (config: object, input = inputs) =>
      runInFolder({ ...stage, goesOn }, parseConfig(stage, config), input, out, options);
    await again({});
    expect(await again({ times: 3 })).toMatchObject({ reused: false, record: { config: { times: 3 } } });
    expect(made).toEqual(["0.txt", "1.txt", "2.txt"]);
    expect((await again({ times: 3 })).reused).toBe(true);
    await expect(again({ times: 4 })).rejects.toThrow("(config.times: 3, now 4: three are enough)");
    await expect(again({ times: 2 })).rejects.toThrow("(config.times: 3, now 2); name another folder");
    // It is not asked where inputs are others.
    await expect(again({ times: 4 }, { words: await on.words("ho") })).rejects.not.toThrow("three are enough");
    expect((await again({ times: 3 })).reused).toBe(true);
  });

  test("takes other values of free fields, and asks whether it can go on with them left aside", async () => {
    await using on = await bench();
    const { stage, made } = repeatStage();
    const inputs = { words: await on.words("hi") };
    const options = { program: program("v1"), signal: new AbortController().signal, stream: on.stream };
    const again = (config: object, goesOn?: (before: unknown) => true | undefined) => {
      const free = { ...stage, free: ["suffix"], ...(goesOn && { goesOn }) };
      return runInFolder(free, parseConfig(stage, config), inputs, join(on.root, "out"), options);
    };
    await again({});
    expect(await again({ suffix: "!" })).toMatchObject({ reused: true, record: { config: { suffix: "" } } });
    await rm(join(on.root, "out", "1.txt"));
    expect(await again({ suffix: "?" })).toMatchObject({ reused: false, record: { config: { suffix: "?" } } });
    expect(made).toEqual(["0.txt", "1.txt", "1.txt"]);
    await expect(again({ suffix: "", times: 3 })).rejects.toThrow("(config.times: 2, now 3); name another folder");
    const asked = jest.fn((): true => true);
    await again({ suffix: "", times: 3 }, asked);
    expect(asked).toHaveBeenCalledWith({ times: 2, suffix: "" }, { times: 3, suffix: "" });
  });

  test("takes a folder in which another command failed before it finished a file", async () => {
    await using on = await bench();
    const fail = (at: string) => ({
      onFile: async (name: string, out: string) => {
        if (name !== at) return;
        await writeFile(join(out, "tmp", "half"), "of a file");
        throw new Error("no luck");
      },
    });
    await expect(run(on, {}, fail("0.txt"))).rejects.toThrow("no luck");
    const { record, made } = await run(on, { times: 1 });
    expect([made, record.attempts, record.config]).toEqual([["0.txt"], 1, { times: 1, suffix: "" }]);
    expect(await readdir(join(on.root, "out", "tmp"))).not.toContain("half");

    await expect(run(on, {}, fail("1.txt"), "other")).rejects.toThrow("no luck"); // 0.txt is finished
    await expect(run(on, { times: 1 }, {}, "other")).rejects.toThrow("the output of another command");
    await expect(run(on, {}, fail("0.txt"), "third")).rejects.toThrow("no luck");
    await writeFile(join(on.root, "third", "notes.txt"), "mine");
    await expect(run(on, { times: 1 }, {}, "third")).rejects.toThrow("the output of another command");
  });

  test("takes a folder in which a command failed that had finished its notes alone, and keeps what is none", async () => {
    await using on = await bench();
    const hooks = { onFile: async (name: string) => Promise.reject(new Error(`no luck at ${name}`)) };
    const copies = (onFile?: typeof hooks) => {
      const { stage, made } = repeatStage(onFile);
      const run: typeof stage.run = async (config, inputs, context) => {
        if (!context.files.has("copy.txt")) await context.files.write("copy.txt", "a copy");
        return stage.run(config, inputs, context);
      };
      return { made, stage: { ...stage, notes: ["copy.txt"], run } };
    };
    const inputs = { words: await on.words("hi") };
    const options = { program: program("v1"), signal: new AbortController().signal, stream: on.stream };
    const go = (config: object, stage: ReturnType<typeof copies>["stage"], to: string) =>
      runInFolder(stage, parseConfig(stage, config), inputs, join(on.root, to), options);

    await expect(go({}, copies(hooks).stage, "out")).rejects.toThrow("no luck at 0.txt");
    const { stage, made } = copies();
    expect(Object.keys((await go({ times: 1 }, stage, "out")).manifest.files).sort()).toEqual(["0.txt", "copy.txt"]);
    expect(made).toEqual(["0.txt"]);
    await expect(go({ times: 2 }, stage, "out")).rejects.toThrow("the output of another command"); // it is complete

    await expect(go({}, copies(hooks).stage, "mine")).rejects.toThrow("no luck");
    await writeFile(join(on.root, "mine", "0.txt"), "mine");
    await expect(go({ times: 1 }, stage, "mine")).rejects.toThrow("the output of another command");
  });

  test("takes a folder in which a process was killed that had only begun to lock it", async () => {
    await using on = await bench();
    await mkdir(join(on.root, "out"));
    await writeFile(join(on.root, "out", ".lock-0123456789abcdef.tmp"), "");
    expect((await run(on)).reused).toBe(false);
  });

  test("refuses a folder that does not say any more what it holds", async () => {
    await using on = await bench();
    await run(on);
    await writeFile(join(on.root, "out", ".madformer.json"), '{"stage":');
    await expect(run(on)).rejects.toThrow(/its .madformer.json, which says what it holds, is damaged/);
  });

  test("refuses a folder with files that no stage made", async () => {
    await using on = await bench();
    await writeFile(join(on.root, "thesis.tex"), "years of work");
    await expect(run(on, {}, {}, ".")).rejects.toThrow(/files that no stage made/);
    expect(await readFile(join(on.root, "thesis.tex"), "utf8")).toBe("years of work");
  });
});

test("differ() names the fields that differ, and their values", () => {
  expect(differ({ a: 1, b: { c: [1], d: 2 } }, { a: 1, b: { c: [2], d: 2 }, e: null })).toEqual(["b.c: [1], now [2]"]);
  expect(differ({ a: 1 }, {})).toEqual(["a: 1, now nothing"]);
});

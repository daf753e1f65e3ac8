import { chmod, mkdir, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { manifestDigest, sha256 } from "@madformer/artifacts";
import { computeOf, type Compute, type ComputeWords } from "./compute.js";
import { ConfigError, parseConfig } from "./config.js";
import { runStage, stageKey } from "./run.js";
import { bench, engines, program, repeatStage, type Bench, type Hooks } from "./testing.js";

const never = new AbortController().signal;

async function run(on: Bench, text: string, config: object = {}, hooks: Hooks = {}, code = "v1", signal = never) {
  const { stage, made } = repeatStage(hooks);
  const inputs = { words: await on.words(text) };
  const { store, stream } = on;
  const result = await runStage(stage, parseConfig(stage, config), inputs, {
    program: program(code),
    store,
    stream,
    signal,
  });
  return { ...result, made };
}

describe("runStage()", () => {
  test("makes what is asked for, writes down how, and keeps it", async () => {
    await using on = await bench();
    const { manifest, record, reused, made } = await run(on, "hi");
    expect([reused, made]).toEqual([false, ["0.txt", "1.txt"]]);
    expect(manifest.facts).toEqual({ files: 2 });
    expect(Object.keys(manifest.files)).toEqual(["0.txt", "1.txt"]);
    const artifact = on.store.artifact({ manifest, record });
    expect(await readFile(await artifact.path("1.txt"), "utf8")).toBe("hi1");
    expect(record).toMatchObject({
      stage: "repeat",
      config: { times: 2, suffix: "" },
      attempts: 1,
      manifest: manifestDigest(manifest),
    });
    expect(record.inputs).toEqual({ words: { stage: "words", digest: (await on.words("hi")).digest } });
    expect(Object.keys(record.logs)).toEqual(["logs/events.jsonl", "logs/finished.jsonl"]);
    expect(record.peakMemoryBytes).toBeGreaterThan(1e7);
    await expect(stat(on.store.workPath(record.key))).rejects.toThrow(/ENOENT/);
  });

  test("computes nothing twice, and again if program, config or an input changes", async () => {
    await using on = await bench();
    await run(on, "hi");
    expect((await run(on, "hi")).reused).toBe(true);
    expect((await run(on, "hi", { times: 2 })).reused).toBe(true); // the default, spelled out
    expect((await run(on, "ho")).reused).toBe(false);
    expect((await run(on, "hi", { suffix: "!" })).reused).toBe(false);
    expect((await run(on, "hi", {}, {}, "v2")).reused).toBe(false);
    expect((await run(on, "hi")).reused).toBe(true); // changing back costs nothing either
  });

  test("another program that makes the same bytes gives an equal manifest", async () => {
    await using on = await bench();
    const [a, b] = [await run(on, "hi"), await run(on, "hi", {}, {}, "v2")];
    expect(a.record.key).not.toBe(b.record.key);
    expect(manifestDigest(a.manifest)).toBe(manifestDigest(b.manifest));
  });

  test("goes on where a failed attempt stopped, and counts the attempts", async () => {
    await using on = await bench();
    const fail = { onFile: (name: string) => (name === "1.txt" ? Promise.reject(new Error("power cut")) : undefined) };
    await expect(run(on, "hi", { times: 3 }, fail)).rejects.toThrow("power cut");
    const { made, record } = await run(on, "hi", { times: 3 });
    expect([made, record.attempts]).toEqual([["1.txt", "2.txt"], 2]);
    expect(on.said()).toContain("going on with attempt 2");
  });

  test("stops when it is told to, and leaves nothing that counts as whole", async () => {
    await using on = await bench();
    const controller = new AbortController();
    const abort = { onFile: () => controller.abort(new Error("stopped")) };
    await expect(run(on, "hi", { times: 3 }, abort, "v1", controller.signal)).rejects.toThrow("stopped");
    expect(await on.store.keys()).toEqual([]);
    expect((await run(on, "hi", { times: 3 })).made).toEqual(["1.txt", "2.txt"]);
  });

  test("makes again what is damaged, and only that", async () => {
    await using on = await bench();
    const { manifest, record } = await run(on, "hi", { times: 3 });
    const path = on.store.objectPath(manifest.files["1.txt"]?.sha256 ?? "");
    await chmod(path, 0o644);
    await writeFile(path, "damaged");
    const again = await run(on, "hi", { times: 3 });
    expect([again.reused, again.made]).toEqual([false, ["1.txt"]]);
    expect(manifestDigest(again.manifest)).toBe(record.manifest);
    expect(await readFile(path, "utf8")).toBe("hi1");
    expect(on.said()).toContain("1 of 3 files were missing or damaged");
  });

  test("makes again what is damaged with what was finished of the rest, notes and all", async () => {
    await using on = await bench();
    const { manifest } = await run(on, "hi", { times: 3 });
    for (const [time, file] of [
      [1, "0.txt"],
      [2, "2.txt"],
    ] as const) {
      const path = on.store.objectPath(manifest.files[file]?.sha256 ?? "");
      await rm(path);
      const again = await run(on, "hi", { times: 3 });
      expect([again.made, again.record.attempts, time]).toEqual([[file], 1, time]);
    }
  });

  test.each<[string, RegExp, (out: string) => Promise<unknown>]>([
    ["removed", /0.txt" was removed after it was finished/, (out) => rm(join(out, "0.txt"))],
    ["changed", /0.txt" was changed after it was finished/, (out) => writeFile(join(out, "0.txt"), "ho0")],
    [
      "a folder",
      /0.txt" was removed after it was finished/,
      (out) => rm(join(out, "0.txt")).then(() => mkdir(join(out, "0.txt"))),
    ],
  ])(
    "writes no manifest if a finished file is %s while the stage runs; the next run makes it",
    async (_, message, damage) => {
      await using on = await bench();
      const onFile = async (name: string, out: string): Promise<void> => {
        if (name === "1.txt") await damage(out);
      };
      await expect(run(on, "hi", {}, { onFile })).rejects.toThrow(message);
      expect(await on.store.keys()).toEqual([]);
      const { made, manifest } = await run(on, "hi");
      expect(made).toEqual(["0.txt"]);
      expect(manifest.files["0.txt"]?.sha256).toBe(sha256("hi0"));
    },
  );

  test("makes again what was damaged in the work of an interrupted attempt", async () => {
    await using on = await bench();
    const cut = async (name: string, out: string): Promise<void> => {
      if (name !== "2.txt") return;
      await writeFile(join(out, "1.txt"), "ho1");
      throw new Error("power cut");
    };
    await expect(run(on, "hi", { times: 3 }, { onFile: cut })).rejects.toThrow("power cut");
    const { made, manifest } = await run(on, "hi", { times: 3 });
    expect(made).toEqual(["1.txt", "2.txt"]);
    expect(manifest.files["1.txt"]?.sha256).toBe(sha256("hi1"));
    expect(on.said()).toContain("1.txt was damaged or lost of the attempt before");
  });

  test("gives files that became objects before an attempt was killed back their own bytes to write to", async () => {
    await using on = await bench();
    const cut = { onFile: (name: string) => (name === "1.txt" ? Promise.reject(new Error("power cut")) : undefined) };
    await expect(run(on, "hi", {}, cut)).rejects.toThrow("power cut");
    const [key] = await readdir(join(on.store.root, "work"));
    const out = join(on.store.root, "work", key ?? "", "out");
    for (const file of ["0.txt", "logs/events.jsonl"]) await on.store.add(join(out, file));
    const { manifest } = await run(on, "hi");
    expect(Object.values(manifest.files).every((ref) => on.store.untouched(ref))).toBe(true);
  });

  test("keeps no file that was finished after an input changed", async () => {
    await using on = await bench();
    const onFile = (name: string) => (name === "1.txt" ? rm(on.store.objectPath(sha256("hi"))) : undefined);
    await expect(run(on, "hi", {}, { onFile })).rejects.toThrow(
      /"words" of the input "words" was changed while it was read/,
    );
    expect(await on.store.keys()).toEqual([]);
    expect((await run(on, "hi")).made).toEqual(["1.txt"]); // 0.txt was finished before
  });

  test("keeps nothing that was made while something outside changed", async () => {
    await using on = await bench();
    const place = join(on.root, "place");
    await writeFile(place, "one");
    const attempt = async (onFile: NonNullable<Hooks["onFile"]>) => {
      const { stage, made } = repeatStage({ onFile });
      const reading = { ...stage, outside: () => [{ path: place, by: "content" as const }] };
      const { store, stream } = on;
      const options = { program: program("v1"), store, stream, signal: never };
      await runStage(reading, parseConfig(stage, {}), { words: await on.words("hi") }, options);
      return made;
    };
    const change = (name: string) => (name === "1.txt" ? writeFile(place, "two") : undefined);
    await expect(attempt(change)).rejects.toThrow(/place" was changed while it was read/);
    expect(await on.store.keys()).toEqual([]);
    await writeFile(place, "one");
    expect(await attempt(() => undefined)).toEqual(["0.txt", "1.txt"]);
  });

  test("of two that want the same at the same time, one works and the other waits", async () => {
    await using on = await bench();
    const slow = { onFile: () => new Promise<void>((done) => setTimeout(done, 100)) };
    const results = await Promise.all([run(on, "hi", {}, slow), run(on, "hi", {}, slow)]);
    expect(results.map(({ reused }) => reused).sort()).toEqual([false, true]);
    expect(on.said()).toMatch(/Waiting for process \d+, which is making the same/);
  });

  test("leaves out leftovers, logs and what lies in tmp", async () => {
    await using on = await bench();
    const litter = {
      onFile: async (_: string, out: string) => {
        await writeFile(join(out, ".x.0a1b.tmp"), "cut off");
        await writeFile(join(out, "logs", "speed.txt"), "10/s");
        await writeFile(join(out, "tmp", "half"), "");
      },
    };
    const { manifest, record } = await run(on, "hi", { times: 1 }, litter);
    expect(Object.keys(manifest.files)).toEqual(["0.txt"]);
    expect(Object.keys(record.logs)).toEqual(["logs/events.jsonl", "logs/finished.jsonl", "logs/speed.txt"]);
  });
});

describe("a stage that computes", () => {
  afterEach(() => delete process.env["MADFORMER_ENGINE"]);

  /** What it made on an engine, and whether it was there. */
  async function on(at: Bench, compute: ComputeWords, installed?: string) {
    const { computing, within } = engines(installed);
    const { stage } = repeatStage({ onFile: () => void seen.push(within()) });
    const seen: (Compute | undefined)[] = [];
    const { store, stream } = at;
    const options = { program: program("v1"), store, stream, signal: never, compute };
    const inputs = { words: await at.words("hi") };
    const result = await runStage({ ...stage, computing }, parseConfig(stage, {}), inputs, options);
    return { ...result, seen: seen[0] };
  }

  test("computes with what it is told, and runs again for another engine or precision", async () => {
    await using at = await bench();
    const first = await on(at, {});
    expect([first.reused, first.seen, first.record.compute]).toEqual([
      false,
      ...twice({ engine: "one", precision: "plain" }),
    ]);
    expect((await on(at, { engine: "one" })).reused).toBe(true); // the default, spelled out
    const other = await on(at, { engine: "two" });
    expect([other.reused, other.seen, other.record.compute]).toEqual([
      false,
      ...twice({ engine: "two", precision: "plain" }),
    ]);
    expect((await on(at, { engine: "two", precision: "rough" })).reused).toBe(false);
    process.env["MADFORMER_ENGINE"] = "two";
    expect((await on(at, {})).record.key).toBe(other.record.key);
    expect((await on(at, { engine: "one" })).record.key).toBe(first.record.key); // the pipeline's word wins
    delete process.env["MADFORMER_ENGINE"];
    expect((await on(at, {})).reused).toBe(true); // going back costs nothing
  });

  test("runs again for other threads where it is said how many: sums that they share round in another order", async () => {
    await using at = await bench();
    const [none, first] = [await on(at, {}), await on(at, { threads: 3 })];
    expect([none.record.compute, first.record.compute]).toEqual([
      { engine: "one", precision: "plain" },
      { engine: "one", precision: "plain", threads: 3 },
    ]);
    expect(new Set([none, first, await on(at, { threads: 1 })].map(({ record }) => record.key)).size).toBe(3);
    expect((await on(at, { threads: 3 })).reused).toBe(true);
  });

  test("runs again for another version of an engine that its program's packages do not bring", async () => {
    await using at = await bench();
    const file = join(at.root, "installed");
    const two = { engine: "two" };
    const none = await on(at, two, file);
    expect([none.record.compute, none.engine]).toEqual([
      { engine: "two", precision: "plain" },
      [{ path: file, by: "content", seen: expect.any(String) as string }],
    ]);
    await writeFile(file, "1.0");
    const first = await on(at, two, file);
    expect([first.reused, first.seen, first.record.compute]).toEqual([
      false,
      ...twice({ engine: "two", precision: "plain", version: "1.0" }),
    ]);
    await writeFile(file, "1.1");
    expect((await on(at, two, file)).reused).toBe(false);
    await writeFile(file, "1.0");
    expect((await on(at, two, file)).record.key).toBe(first.record.key);
    expect([(await on(at, two)).record.key, (await on(at, {}, file)).engine]).toEqual([none.record.key, []]);
  });

  test("refuses an engine that there is not in one sentence, and one that does not compute any", async () => {
    await using at = await bench();
    await expect(on(at, { engine: "three" })).rejects.toThrow(
      'Stage "repeat" cannot run with its options: the engine is "three", expected one of "one", "two"',
    );
    const { stage } = repeatStage();
    expect(computeOf(stage, {})).toBeUndefined();
    expect(() => computeOf(stage, { threads: 2 }, '"a" of p/pipeline.json')).toThrow(
      new ConfigError(
        'Stage "repeat" cannot run with "a" of p/pipeline.json: "threads" has no effect, it computes with no engine',
      ),
    );
  });

  const twice = (compute: Compute) => [compute, compute];
});

test("stageKey() changes with what a stage reads outside", () => {
  const key = (outside?: string) => stageKey({ name: "dataset" }, program("v1"), {}, {}, outside);
  expect(new Set([key(), key("a"), key("b")]).size).toBe(3);
});

test("parseConfig() names every field that is wrong", () => {
  const { stage } = repeatStage();
  expect(() => parseConfig(stage, { times: 0, sufix: "x" })).toThrow(
    /Stage "repeat" cannot run with its config: times: .*; .*sufix/,
  );
});

import { chmod, mkdir, readFile, rename, rm, stat, unlink, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { sha256, Store } from "@madformer/artifacts";
import { pipelineStatus } from "./status.js";
import { bench, program, runAll, twoStages, type Bench } from "./testing.js";
import { verify } from "./verify.js";

const code = program("v1");

async function setUp(on: Bench) {
  const all = await twoStages(on);
  const made = await runAll(on, all, code);
  const look = async (options: { deep?: boolean; dryRun?: boolean; stage?: string; whole?: boolean } = {}) => {
    const { findings } = await verify({
      ...{ store: on.store, pipelines: [all.pipeline] },
      ...{ deep: false, dryRun: false, stage: undefined, whole: true, ...options },
    });
    return findings.map(({ where, problem, mended = "open" }) => `${where}: ${problem}: ${mended}`);
  };
  const current = async () => {
    const found = await pipelineStatus(all.pipeline, "second", { store: on.store, program: () => code.sha256 });
    return found.every((stage) => stage.current);
  };
  const object = (stage: string, file: string) => on.store.objectPath(made[stage]!.manifest.files[file]!.sha256);
  const out = (...path: string[]) => join(on.root, "p/out", ...path);
  return { all, made, look, current, object, out };
}

/** Other bytes of the same number; the time is set back if it is to be found by hashing alone. */
async function overwrite(path: string, text: string, time?: Date): Promise<void> {
  await chmod(path, 0o644);
  await writeFile(path, text);
  if (time) await utimes(path, time, time);
}

describe("verify()", () => {
  test("finds nothing after a run, and counts what it looked at", async () => {
    await using on = await bench();
    const { all, look } = await setUp(on);
    expect(await look({ deep: true })).toEqual([]);
    const { stages, objects, bytes } = await verify({
      ...{ store: on.store, pipelines: [all.pipeline], whole: false, deep: true, dryRun: false },
    });
    expect([stages, objects > 5, bytes > 9]).toEqual([2, true, true]);
  });

  test("removes what is damaged, names it until a run has made it again, and is then content", async () => {
    await using on = await bench();
    const { all, look, object } = await setUp(on);
    await overwrite(object("first", "1.txt"), "jo1");
    expect(await look({ dryRun: true })).toEqual(['p/first: "1.txt" is damaged: open']);
    expect(await readFile(object("first", "1.txt"), "utf8")).toBe("jo1");
    expect(await look()).toEqual(['p/first: "1.txt" is damaged: open']);
    expect(await look()).toEqual(['p/first: "1.txt" is missing: open']);
    await runAll(on, all, code);
    expect(await look({ deep: true })).toEqual([]);
  });

  test("finds bytes that changed under the same size and time only when it hashes", async () => {
    await using on = await bench();
    const { look, object } = await setUp(on);
    const { mtime } = await stat(object("second", "0.txt"));
    await overwrite(object("second", "0.txt"), "ho00", mtime);
    Object.assign(on, { store: new Store(on.store.root) }); // another process has hashed nothing yet
    expect(await look()).toEqual([]);
    expect(await look({ deep: true })).toEqual(['p/second: "0.txt" is damaged: open']);
  });

  test("mends times, names, notes and lost objects without a run", async () => {
    await using on = await bench();
    const { look, current, object, out, made } = await setUp(on);
    await utimes(object("first", "0.txt"), new Date(), new Date());
    await rename(out("second/files/0.txt"), out("second/files/x.txt"));
    await unlink(object("first", "1.txt"));
    await writeFile(join(on.store.root, "keys", `${made["second"]!.record.key}.json`), "{");
    expect(await look()).toEqual([
      'p/first: "0.txt" was touched, its bytes are right: its time is set back',
      'p/first: "1.txt" is missing: taken back from what is shown',
      "p/first: files/1.txt is not the object that it was: shown as it should be",
      "p/second: the store's note of it is damaged: written again, from what is shown",
      "p/second: files/x.txt is none of its files: shown as it should be",
    ]);
    expect(await look({ deep: true })).toEqual([]);
    expect(await current()).toBe(true);
    expect(await readFile(out("first/files/1.txt"), "utf8")).toBe("hi1");
  });

  test("mends a damaged manifest, record and check from the store", async () => {
    await using on = await bench();
    const { all, look, current, out } = await setUp(on);
    const manifest = await readFile(out("first/manifest.json"), "utf8");
    await writeFile(out("first/manifest.json"), manifest.replace('"files": 2', '"files": 3'));
    await writeFile(out("second/checked.json"), "{}");
    expect(await look()).toEqual([
      "p/first: manifest.json is another one: shown as it should be",
      "p/second: checked.json is damaged or lost: the next run writes it again",
    ]);
    expect(await readFile(out("first/manifest.json"), "utf8")).toBe(manifest);
    await runAll(on, all, code);
    expect([await look(), await current()]).toEqual([[], true]);
  });

  test("says when nothing tells what was made", async () => {
    await using on = await bench();
    const { look, out } = await setUp(on);
    for (const file of ["checked.json", "record.json"]) await writeFile(out("first", file), "{}");
    expect(await look()).toEqual([
      "p/first: manifest and record are damaged or lost, and nothing else says what it made: open",
    ]);
  });

  test("looks through what no pipeline shows, and forgets what is not whole", async () => {
    await using on = await bench();
    const { look, made, out } = await setUp(on);
    await rm(out(), { recursive: true });
    expect(await look({ deep: true })).toEqual([]);
    await overwrite(on.store.objectPath(made["first"]!.manifest.files["0.txt"]!.sha256), "jo0");
    const other = await on.words("nobody's");
    await overwrite(on.store.objectPath(other.manifest.files["words"]!.sha256), "anybody's");
    await mkdir(on.store.objectPath(sha256("a folder")), { recursive: true });
    await writeFile(join(on.store.root, "objects/notes.txt"), "mine");
    const found = await look();
    const key = made["first"]!.record.key;
    expect(found).toContain(`keys/${key}: "0.txt" is damaged: removed`);
    expect(found).toContain(
      `keys/${key}: 0.txt of what stage "repeat" made is missing: forgotten`.replace("repeat", "first"),
    );
    expect(found.filter((line) => /^objects\/../.test(line)).map((line) => line.replace(/[0-9a-f]{62,}/, "X"))).toEqual(
      expect.arrayContaining([expect.stringMatching(/^objects\/..\/X: it is damaged: removed$/)]),
    );
    expect(found).toContain("objects/notes.txt: it is no object, and nothing of the store's: remove it: open");
    await rm(join(on.store.root, "objects/notes.txt"));
    expect(await look({ deep: true })).toEqual([]);
  });

  test("looks at one stage alone", async () => {
    await using on = await bench();
    const { look, object } = await setUp(on);
    await overwrite(object("first", "1.txt"), "jo1");
    expect(await look({ stage: "second", whole: false })).toEqual([]);
    expect(await look({ stage: "first", whole: false })).toHaveLength(1);
  });

  test("lets a damaged log go", async () => {
    await using on = await bench();
    const { look, made, current } = await setUp(on);
    await overwrite(on.store.objectPath(made["first"]!.record.logs["logs/events.jsonl"]!.sha256), "{}\n");
    expect(await look()).toEqual([
      'p/first: the log "logs/events.jsonl" is damaged: removed',
      "p/first: logs/events.jsonl is not the object that it was: shown as it should be",
    ]);
    expect([await look(), await current()]).toEqual([[], true]);
  });
});

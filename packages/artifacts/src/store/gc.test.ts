import { link, mkdir, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { collectGarbage } from "./gc.js";
import { guardOf } from "./lock-file.js";
import { takeLock } from "./lock.js";
import { manifestDigest, sha256, type Manifest } from "./manifest.js";
import { sealRecord } from "./record.js";
import { registerRoot } from "./roots.js";
import { Store, type Made } from "./store.js";

let root: string;
let store: Store;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "gc-"));
  store = new Store(join(root, "store"));
});
afterEach(() => rm(root, { recursive: true }));

async function object(text: string) {
  await writeFile(join(root, "file"), text);
  const ref = await store.add(join(root, "file"));
  await rm(join(root, "file"));
  return ref;
}

/** Something that was made at a time, of two files and a log; one of the files has this text. */
async function make(text: string, finishedAt: string): Promise<Made> {
  const manifest: Manifest = {
    format: 1,
    stage: "s",
    facts: {},
    files: { a: await object(text), b: await object("common") },
  };
  const made: Made = {
    manifest,
    record: sealRecord({
      format: 1,
      stage: "s",
      key: sha256(text),
      program: { sha256: (await object(`program of ${text}`)).sha256, externals: [] },
      config: {},
      inputs: {},
      manifest: manifestDigest(manifest),
      startedAt: finishedAt,
      finishedAt,
      seconds: 1,
      attempts: 1,
      peakMemoryBytes: 1,
      machine: { cpu: "x", cores: 1, node: "v20", platform: "p" },
      logs: { "logs/x": await object(`log of ${text}`) },
    }),
  };
  await store.remember(made);
  return made;
}

const objects = async (): Promise<string[]> =>
  (
    await Promise.all(
      (await readdir(join(store.root, "objects"))).map((dir) => readdir(join(store.root, "objects", dir))),
    )
  )
    .flat()
    .sort();
const digests = (...texts: string[]): string[] => texts.map((text) => sha256(text)).sort();
const [OLD, NEW] = ["2026-01-01T00:00:00Z", "2100-01-02T00:00:00Z"];
/** After the objects of this test were linked, before what is new was finished. */
const since = new Date("2100-01-01T00:00:00Z");

describe("collectGarbage()", () => {
  test("keeps what pipelines show and what is young, with logs and programs, and removes the rest", async () => {
    const shown = await make("shown", OLD);
    await make("young", NEW);
    await make("old", OLD);
    await object("nobody's");
    const { removed, kept } = await collectGarbage(store, { roots: [shown], since, dryRun: false });
    expect(await objects()).toEqual(
      digests("shown", "common", "program of shown", "log of shown", "young", "program of young", "log of young"),
    );
    expect((await store.keys()).sort()).toEqual(digests("shown", "young"));
    expect([removed.objects, removed.keys, kept.objects, kept.keys]).toEqual([4, 1, 7, 2]);
  });

  test("only counts when asked to", async () => {
    await make("old", OLD);
    const { removed } = await collectGarbage(store, { roots: [], since, dryRun: true });
    expect(removed).toMatchObject({ objects: 4, keys: 1 });
    expect(await objects()).toHaveLength(4);
    expect(await store.keys()).toHaveLength(1);
  });

  test("leaves objects that were added since: a stage that runs has no key yet", async () => {
    await object("of a running stage");
    await collectGarbage(store, { roots: [], since: new Date(Date.now() - 60_000), dryRun: false });
    expect(await objects()).toEqual(digests("of a running stage"));
  });

  test("tells no time by clocks alone: what a stage has made that runs now stays", async () => {
    const key = (await make("just remembered", OLD)).record.key;
    const work = await workAt(key);
    for (const text of ["linked", "made before", "not of that stage"]) await object(text);
    await link(store.objectPath(sha256("linked")), join(work, "out", "linked"));
    await writeFile(join(work, "out", "again"), "made before");
    {
      await using _ = await takeLock(`${work}.lock`);
      await collectGarbage(store, { since, dryRun: false });
    }
    const remembered = ["just remembered", "common", "program of just remembered", "log of just remembered"];
    expect(await objects()).toEqual(digests("linked", "made before", ...remembered));
  });
});

const NOBODY = { pid: 2 ** 22 + 1, host: hostname(), started: "" };

/** Work that was touched at a time, with or without a lock. */
async function workAt(name: string, lock?: object, time = "2026-01-01"): Promise<string> {
  const work = store.workPath(name);
  await mkdir(join(work, "out"), { recursive: true });
  await writeFile(join(work, "attempt.json"), "{}");
  await utimes(join(work, "attempt.json"), new Date(time), new Date(time));
  if (lock) await writeFile(`${work}.lock`, JSON.stringify(lock));
  return work;
}
const inStore = async (folder: string): Promise<string[]> => (await readdir(join(store.root, folder))).sort();

describe("collectGarbage() on work", () => {
  test("removes what is old, with dead locks, but not where a process is at it, nor what is young", async () => {
    await workAt("old");
    await workAt("old and dead", NOBODY);
    await workAt("old and damaged", { pid: -1 });
    await workAt("young and dead", NOBODY, "2100-06-01");
    await writeFile(`${store.workPath("lock alone")}.lock`, JSON.stringify(NOBODY));
    await using _ = await takeLock(`${await workAt("old and alive")}.lock`);
    const before = await inStore("work");
    const would = await collectGarbage(store, { since, dryRun: true });
    expect(await inStore("work")).toEqual(before);
    const { removed } = await collectGarbage(store, { since, dryRun: false });
    expect(removed).toMatchObject({ works: 3, locks: 4 });
    expect(would.removed).toEqual(removed);
    expect(await inStore("work")).toEqual(["old and alive", "old and alive.lock", "young and dead"]);
  });

  test("watches a lock of another machine, and believes the first sign of life", async () => {
    const elsewhere = { pid: 1, host: "elsewhere", started: "" };
    await workAt("silent", elsewhere);
    const alive = await workAt("alive", elsewhere);
    const touch = setInterval(() => void utimes(`${alive}.lock`, new Date(), new Date()), 30);
    const said: string[] = [];
    const onWait = (message: string): void => void said.push(message);
    const { removed } = await collectGarbage(store, { since, dryRun: false, silentMs: 1500, onWait });
    clearInterval(touch);
    expect(removed).toMatchObject({ works: 1, locks: 1 });
    expect(await inStore("work")).toEqual(["alive", "alive.lock"]);
    const lock = JSON.stringify(`${store.workPath("silent")}.lock`);
    expect(said).toContain(`Watching ${lock} for a sign of life of process 1 on "elsewhere", up to 2 s`);
  });
});

describe("collectGarbage() on what is no object", () => {
  test("removes old files that were never finished, and names what is not the store's", async () => {
    await make("shown", NEW);
    const [old, young] = [new Date("2026-01-01"), new Date("2100-06-01")];
    const write = async (path: string, time = old): Promise<void> => {
      await mkdir(join(store.root, path, ".."), { recursive: true });
      await writeFile(join(store.root, path), "x");
      await utimes(join(store.root, path), time, time);
    };
    const hex = "ab".repeat(32);
    const unfinished = [
      `objects/ab/${hex}.part`,
      `objects/ab/${hex}.123.part`,
      `keys/.${hex}.json.0a1b2c.tmp`,
      "roots/.0123456789abcdef.json.0a1b2c.tmp",
      "work/.lock-0123456789abcdef.tmp",
      "work/.lock-0123456789abcdef.guard.tmp",
      `work/${hex}.lock.break`,
    ];
    for (const path of unfinished) await write(path);
    await write("keys/.young.tmp", young);
    const strangers = [
      `keys/${hex}.json`, // a folder
      "keys/notes.txt",
      "objects/README",
      `objects/ab/${hex}`, // a folder
      `objects/cd/${hex}`, // in the wrong folder
      "roots/x.json",
      "thesis.tex",
      "work/file",
    ];
    for (const path of strangers)
      if (path === `keys/${hex}.json` || path === `objects/ab/${hex}`) await write(`${path}/inside`);
      else await write(path);

    const would = await collectGarbage(store, { since, dryRun: true });
    expect(would).toMatchObject({ removed: { temporaries: unfinished.length, objects: 0 }, strangers });
    const result = await collectGarbage(store, { since, dryRun: false });
    expect(result).toEqual(would);
    for (const path of unfinished) await expect(stat(join(store.root, path))).rejects.toThrow("ENOENT");
    for (const path of [...strangers, "keys/.young.tmp"]) await stat(join(store.root, path));
  });

  test("leaves the guard of a lock that somebody takes over just now", async () => {
    const guard = guardOf(join(store.root, "work", "x.lock"));
    await mkdir(join(store.root, "work"), { recursive: true });
    await using _ = await takeLock(guard);
    expect((await collectGarbage(store, { since, dryRun: false })).removed.temporaries).toBe(0);
  });
});

describe("collectGarbage() on a store that several workspaces share", () => {
  const at = (workspace: string): string => join(root, workspace);

  /** Lets a workspace show something as an output, and tells the store. */
  async function show(workspace: string, output: string, made: Made, registered = true): Promise<string> {
    const [pipeline = "", stage = ""] = output.split("/");
    const out = join(at(workspace), "pipelines", pipeline, "out", stage);
    await mkdir(out, { recursive: true });
    await writeFile(join(out, "manifest.json"), JSON.stringify(made.manifest));
    await writeFile(join(out, "record.json"), JSON.stringify(made.record));
    if (registered) await registerRoot(store, at(workspace), { [output]: made.record.key });
    return out;
  }
  const collect = (workspace = "mine", dryRun = false) =>
    collectGarbage(store, { workspace: at(workspace), since, dryRun });
  const keys = async (): Promise<string[]> => (await store.keys()).sort();

  test("keeps what each shows now, and nothing that it showed before", async () => {
    await show("mine", "p/s", await make("mine", OLD), false);
    await show("other", "p/s", await make("before", OLD));
    await show("other", "p/s", await make("now", OLD));
    await show("other", "p/t", await make("more", OLD), false); // is found there all the same
    const { workspaces } = await collect();
    expect(await keys()).toEqual(digests("mine", "now", "more"));
    expect(workspaces).toEqual([
      { host: hostname(), workspace: at("mine"), outputs: 1 },
      { host: hostname(), workspace: at("other"), outputs: 2 },
    ]);
    await collect("other"); // the one that did not register showed what it has when it collected
    expect(await keys()).toEqual(digests("mine", "now", "more"));
  });

  test("forgets a workspace that is gone", async () => {
    await show("mine", "p/s", await make("mine", OLD));
    await show("other", "p/s", await make("other", OLD));
    await rm(at("other"), { recursive: true });
    expect(await collect("mine", true)).toMatchObject({ gone: [at("other")], removed: { keys: 1 } });
    expect(await inStore("roots")).toHaveLength(2);
    expect(await collect()).toMatchObject({ gone: [at("other")], workspaces: [{ workspace: at("mine") }] });
    expect(await keys()).toEqual(digests("mine"));
    expect(await inStore("roots")).toHaveLength(1);
  });

  test("believes what is registered on another machine", async () => {
    await show("mine", "p/s", await make("mine", OLD));
    const { record } = await make("far", OLD);
    const registration = {
      host: "elsewhere",
      workspace: "C:\\clone",
      updatedAt: OLD,
      shown: { "p/s": record.key, "p/t": sha256("unknown here") },
    };
    await writeFile(join(store.root, "roots", "0123456789abcdef.json"), JSON.stringify(registration));
    expect((await collect()).workspaces).toContainEqual({ host: "elsewhere", workspace: "C:\\clone", outputs: 2 });
    expect(await keys()).toEqual(digests("mine", "far"));
  });

  test.each<[string, (out: string) => Promise<unknown>]>([
    ["is damaged", (out) => writeFile(join(out, "record.json"), "{")],
    ["is not there yet", (out) => rm(join(out, "record.json"))],
    ["is a folder", (out) => rm(join(out, "record.json")).then(() => mkdir(join(out, "record.json")))],
  ])("keeps what is registered where the record of an output %s", async (_, damage) => {
    await damage(await show("other", "p/s", await make("other", OLD)));
    expect((await collect()).workspaces).toContainEqual(
      expect.objectContaining({ workspace: at("other"), outputs: 1 }),
    );
    expect(await keys()).toEqual(digests("other"));
  });

  test("keeps both where a manifest and a record of two runs lie side by side", async () => {
    const [before, now] = [await make("before", OLD), await make("now", OLD)];
    const out = await show("other", "p/s", before);
    await writeFile(join(out, "record.json"), JSON.stringify(now.record));
    await collect();
    expect(await keys()).toEqual(digests("before", "now"));
  });

  test("removes nothing where it cannot tell what is shown, and says which file is to blame", async () => {
    const other = await make("other", OLD);
    const out = await show("other", "p/s", other, false);
    await registerRoot(store, at("other"), { "p/t": other.record.key });
    await writeFile(join(out, "manifest.json"), JSON.stringify({ ...other.manifest, format: 2 }));
    await workAt("old");
    await expect(collect()).rejects.toThrow(
      /^Cannot tell what ".*\/other\/pipelines\/p\/out\/s" shows: format: Invalid input[^\n]*; run its stage again, or remove it$/,
    );
    await rm(at("other"), { recursive: true });
    const [name = ""] = await inStore("roots");
    for (const text of ["", "{}", '{"host": "x"}', "[".repeat(9), Buffer.of(255)]) {
      await writeFile(join(store.root, "roots", name), text);
      await expect(collect()).rejects.toThrow(/^Cannot tell what ".*\/roots\/.*\.json" keeps: [^\n]*$/);
    }
    expect(await keys()).toEqual(digests("other"));
    expect(await inStore("work")).toEqual(["old"]);
  });

  test("minds no damage to the registration of the workspace that asks, and mends it", async () => {
    await show("mine", "p/s", await make("mine", OLD));
    const [name = ""] = await inStore("roots");
    const text = await readFile(join(store.root, "roots", name), "utf8");
    await writeFile(join(store.root, "roots", name), "{");
    await collect();
    expect(await keys()).toEqual(digests("mine"));
    const shown = (json: string): unknown => (JSON.parse(json) as { shown: unknown }).shown;
    expect(shown(await readFile(join(store.root, "roots", name), "utf8"))).toEqual(shown(text));
  });
});

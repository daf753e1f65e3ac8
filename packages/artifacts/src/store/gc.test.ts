import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { collectGarbage } from "./gc.js";
import { manifestDigest, sha256, type Manifest } from "./manifest.js";
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
    record: {
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
    },
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

  test("removes old work, but not where a process is at it, nor young work", async () => {
    for (const name of ["old", "locked", "young"]) {
      await mkdir(join(store.workPath(name)), { recursive: true });
      await writeFile(join(store.workPath(name), "attempt.json"), "{}");
      const time = name === "young" ? new Date("2100-06-01") : new Date("2026-01-01");
      await utimes(join(store.workPath(name), "attempt.json"), time, time);
    }
    await writeFile(`${store.workPath("locked")}.lock`, "{}");
    const { removed } = await collectGarbage(store, { roots: [], since, dryRun: false });
    expect(removed.works).toBe(1);
    expect((await readdir(join(store.root, "work"))).sort()).toEqual(["locked", "locked.lock", "young"]);
  });
});

import {
  appendFile,
  chmod,
  link,
  mkdir,
  mkdtemp,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  truncate,
  utimes,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DataError } from "../data-error.js";
import { listFiles } from "./files.js";
import { openFile, openFolder } from "./folder.js";
import { FilePath, manifestDigest, manifestText, sha256, type Manifest } from "./manifest.js";
import { isSealed, sealRecord, StageRecord } from "./record.js";
import { objectTime, Store } from "./store.js";

let root: string;
let store: Store;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "store-"));
  store = new Store(join(root, "store"));
});
afterEach(() => rm(root, { recursive: true }));

async function added(text: string, name = "file"): Promise<{ sha256: string; bytes: number }> {
  await writeFile(join(root, name), text);
  const ref = await store.add(join(root, name));
  await rm(join(root, name));
  return ref;
}

const manifestOf = (files: Manifest["files"]): Manifest => ({
  format: 1,
  stage: "shards",
  facts: { images: 2 },
  files,
});

function recordOf(key: string, manifest: Manifest): StageRecord {
  const time = "2026-01-01T00:00:00Z";
  return sealRecord({
    format: 1,
    stage: "shards",
    key,
    program: { sha256: sha256("program"), externals: [] },
    config: {},
    inputs: {},
    manifest: manifestDigest(manifest),
    startedAt: time,
    finishedAt: time,
    seconds: 1,
    attempts: 1,
    peakMemoryBytes: 1,
    machine: { cpu: "x", cores: 1, node: "v20", platform: "linux-x64" },
    logs: {},
  });
}

describe("Store", () => {
  test("keeps a file once, under its digest, read-only", async () => {
    const ref = await added("hello");
    expect(ref).toEqual({ sha256: sha256("hello"), bytes: 5 });
    expect(await readFile(store.objectPath(ref.sha256), "utf8")).toBe("hello");
    const status = await stat(store.objectPath(ref.sha256));
    expect([status.mode & 0o777, status.mtime]).toEqual([0o444, objectTime(ref.sha256)]);
    expect(await added("hello", "other")).toEqual(ref);
  });

  test.each([
    ["overwritten with as many bytes", (path: string) => writeFile(path, "jello")],
    ["truncated", (path: string) => truncate(path, 3)],
    ["appended to", (path: string) => writeFile(path, "hello and more")],
    ["removed", (path: string) => rm(path)],
  ])("finds an object that was %s, and takes it in again", async (_, damage) => {
    const ref = await added("hello");
    const path = store.objectPath(ref.sha256);
    await chmod(path, 0o644);
    await damage(path);
    expect(await store.missing(manifestOf({ a: ref }))).toEqual(["a"]);
    await expect(stat(path)).rejects.toThrow(/ENOENT/);
    await added("hello");
    expect(await store.missing(manifestOf({ a: ref }))).toEqual([]);
  });

  test("finds objects that changed places, although their sizes are equal and nothing was written", async () => {
    const [a, b] = [await added("hello"), await added("world")];
    const [pathA, pathB] = [store.objectPath(a.sha256), store.objectPath(b.sha256)];
    await rename(pathA, join(root, "between"));
    await rename(pathB, pathA);
    await rename(join(root, "between"), pathB);
    expect([store.untouched(a), store.untouched(b)]).toEqual([false, false]);
    expect(await store.missing(manifestOf({ a, b }))).toEqual(["a", "b"]);
  });

  test("takes what lies where an object, a key or a folder of them should be for damage, and makes room", async () => {
    const ref = await added("hello");
    const [path, key] = [store.objectPath(ref.sha256), sha256("key")];
    await rm(path);
    await mkdir(join(path, "folder"), { recursive: true });
    expect([store.untouched(ref), await store.intact(ref)]).toEqual([false, false]);
    await rm(join(store.root, "objects"), { recursive: true });
    await writeFile(join(store.root, "objects"), "a file");
    expect(await added("hello")).toEqual(ref);
    const manifest = manifestOf({ a: ref });
    await mkdir(join(store.root, "keys", `${key}.json`, "folder"), { recursive: true });
    expect(await store.lookup(key)).toBeUndefined();
    await rm(join(store.root, "keys"), { recursive: true, force: true });
    await writeFile(join(store.root, "keys"), "a file");
    await store.remember({ manifest, record: recordOf(key, manifest) });
    expect(await store.lookup(key)).toBeDefined();
  });

  test("does not take in a file that is written to meanwhile", async () => {
    const path = join(root, "growing");
    await writeFile(path, "x".repeat(2 ** 22));
    let writing = true;
    const writer = (async () => {
      for (let i = 0; writing; i++) await appendFile(path, String(i));
    })();
    await expect(store.add(path)).rejects.toThrow(/Cannot store ".*growing" in .*: something writes to it/);
    writing = false;
    await writer;
    const { sha256: digest } = await store.add(path); // now nobody does
    expect(sha256(await readFile(store.objectPath(digest)))).toBe(digest);
  });

  test("takes a single file for a folder with nothing else", async () => {
    for (const name of ["a", "b"]) await writeFile(join(root, name), "hello");
    const one = await openFile(join(root, "a"), store);
    expect(one.files).toEqual(["a"]);
    expect(one.digest).toBe((await openFile(join(root, "a"), store)).digest);
    expect(await one.path("a")).toBe(join(root, "a"));
    await expect(one.path("b")).rejects.toThrow(DataError);
    await writeFile(join(root, "a"), "jello");
    expect(await one.changed()).toEqual(["a"]);
    await expect(openFile(join(root, "c"), store)).rejects.toThrow(DataError);
  });

  test("says which files that were handed out have been touched since", async () => {
    const [a, b] = [await added("hello"), await added("world")];
    const artifact = store.artifact({ manifest: manifestOf({ a, b }) });
    const path = await artifact.path("a");
    expect(await artifact.changed()).toEqual([]);
    for (const file of [path, store.objectPath(b.sha256)]) {
      await chmod(file, 0o644);
      await writeFile(file, "jello");
    }
    expect(await artifact.changed()).toEqual(["a"]); // nobody has read b
  });

  test("finds bytes that changed although size and time did not, when they are used", async () => {
    const ref = await added("hello");
    const path = store.objectPath(ref.sha256);
    const { mtime } = await stat(path);
    await chmod(path, 0o644);
    await writeFile(path, "jello");
    await utimes(path, mtime, mtime);
    const fresh = new Store(store.root); // another process
    const artifact = fresh.artifact({ manifest: manifestOf({ a: ref }) });
    await expect(artifact.path("a")).rejects.toThrow(/"a" of stage "shards" is missing or damaged .* makes it anew/);
  });

  test("trusts an object that was touched but not changed", async () => {
    const ref = await added("hello");
    await utimes(store.objectPath(ref.sha256), new Date(), new Date());
    expect(await store.intact(ref)).toBe(true);
  });

  test("remembers what a key made, and forgets what it cannot read", async () => {
    const manifest = manifestOf({ a: await added("hello") });
    const key = sha256("key");
    const record = recordOf(key, manifest);
    await store.remember({ manifest, record });
    expect(await store.lookup(key)).toEqual({ manifest, record });
    expect(await store.keys()).toEqual([key]);
    await writeFile(join(store.root, "keys", `${key}.json`), '{"manifest":');
    expect(await store.lookup(key)).toBeUndefined();
    expect(await store.lookup(sha256("other"))).toBeUndefined();
  });

  test("forgets a key whose record was changed", async () => {
    const key = sha256("key");
    const manifest = manifestOf({ a: await added("hello") });
    const path = join(store.root, "keys", `${key}.json`);
    await store.remember({ manifest, record: recordOf(key, manifest) });
    await writeFile(path, (await readFile(path, "utf8")).replace('"seconds":1', '"seconds":2'));
    expect(await store.lookup(key)).toBeUndefined();
  });

  test("does not answer with a manifest that is not its record's", async () => {
    const key = sha256("key");
    const manifest = manifestOf({ a: await added("hello") });
    await store.remember({ manifest: { ...manifest, facts: { images: 3 } }, record: recordOf(key, manifest) });
    expect(await store.lookup(key)).toBeUndefined();
  });
});

describe("StageRecord", () => {
  const manifest = manifestOf({});

  test("is the same text whether it was just made or read back, and knows when it says something else", () => {
    const record = recordOf(sha256("key"), manifest);
    const other = sealRecord({ ...record, config: { b: { d: 1, c: 2 }, a: 0 } });
    expect(JSON.stringify(other.config)).toBe('{"a":0,"b":{"c":2,"d":1}}');
    expect(StageRecord.parse(JSON.parse(JSON.stringify(other)))).toEqual(other);
    expect([isSealed(record), isSealed({ ...record, seconds: 2 }), isSealed({ ...record, outside: "x" })]).toEqual([
      true,
      false,
      false,
    ]);
  });

  test.each<[string, object]>([
    ["a log outside of logs/", { logs: { "../x": { sha256: sha256("x"), bytes: 1 } } }],
    ["a log that is a way out", { logs: { "logs/../../x": { sha256: sha256("x"), bytes: 1 } } }],
    ["a digest that is a path", { logs: { "logs/x": { sha256: "../../x", bytes: 1 } } }],
    ["a program that is a path", { program: { sha256: "../../x", externals: [] } }],
  ])("refuses %s", (_, fields) => {
    expect(StageRecord.safeParse({ ...recordOf(sha256("key"), manifest), ...fields }).success).toBe(false);
  });
});

describe("manifestText()", () => {
  test("depends on content, not on the order of keys", () => {
    const [a, b] = [
      { sha256: sha256("a"), bytes: 1 },
      { sha256: sha256("b"), bytes: 1 },
    ];
    expect(manifestText(manifestOf({ a, b }))).toBe(manifestText(manifestOf({ b, a })));
    expect(manifestDigest(manifestOf({ a, b }))).not.toBe(manifestDigest(manifestOf({ a: b, b: a })));
  });
});

test.each(["", "/etc/passwd", "../x", "a/../b", "a//b", "a\\b", "c:x", "a\u0000", "./a", "a/", "\u007f"])(
  "FilePath refuses %j",
  (path) => expect(FilePath.safeParse(path).success).toBe(false),
);

describe("listFiles()", () => {
  test("lists files in order, without those that were cut off", async () => {
    await mkdir(join(root, "f/b"), { recursive: true });
    for (const name of ["z", "b/y", "a", ".a.0123.tmp"]) await writeFile(join(root, "f", name), "");
    expect(await listFiles(join(root, "f"))).toEqual(["a", "b/y", "z"]);
    expect(await listFiles(join(root, "f"), ["b"])).toEqual(["a", "z"]);
  });

  test("refuses a link, which could lead anywhere", async () => {
    await mkdir(join(root, "f"));
    await symlink("/etc/passwd", join(root, "f", "x"));
    await expect(listFiles(join(root, "f"))).rejects.toThrow(DataError);
  });
});

describe("openFolder()", () => {
  test("reads a folder without a manifest, one with files beside it, and one whose files lie in the store", async () => {
    await mkdir(join(root, "plain"));
    await writeFile(join(root, "plain", "a"), "hello");
    const plain = await openFolder(join(root, "plain"), store);
    expect(plain.files).toEqual(["a"]);
    expect(await plain.path("a")).toBe(join(root, "plain", "a"));

    const manifest = manifestOf({ a: await added("hello") });
    await mkdir(join(root, "out"));
    await writeFile(join(root, "out", "manifest.json"), manifestText(manifest));
    const out = await openFolder(join(root, "out"), store);
    expect(out.digest).toBe(manifestDigest(manifest));
    expect(await out.path("a")).toBe(store.objectPath(sha256("hello")));
    await link(store.objectPath(sha256("hello")), join(root, "out", "a"));
    expect(await (await openFolder(join(root, "out"), store)).path("a")).toBe(join(root, "out", "a"));
  });

  test("finds a file that is not the manifest's, and says which", async () => {
    await mkdir(join(root, "out"));
    await writeFile(
      join(root, "out", "manifest.json"),
      manifestText(manifestOf({ a: { sha256: sha256("hello"), bytes: 5 } })),
    );
    await writeFile(join(root, "out", "a"), "jello");
    await expect((await openFolder(join(root, "out"), store)).path("a")).rejects.toThrow(/out\/a" is damaged/);
  });

  test("refuses a manifest that its record was not written about", async () => {
    await mkdir(join(root, "out"));
    const manifest = manifestOf({});
    await writeFile(join(root, "out", "record.json"), JSON.stringify(recordOf(sha256("key"), manifest)));
    await writeFile(join(root, "out", "manifest.json"), manifestText({ ...manifest, facts: { images: 3 } }));
    await expect(openFolder(join(root, "out"), store)).rejects.toThrow(
      /Cannot use ".*out": manifest.json and record.json do not belong together/,
    );
  });

  test("says which files that were handed out have been touched since", async () => {
    await mkdir(join(root, "plain"));
    for (const name of ["a", "b"]) await writeFile(join(root, "plain", name), "hello");
    const plain = await openFolder(join(root, "plain"), store);
    await plain.path("a");
    expect(await plain.changed()).toEqual([]);
    for (const name of ["a", "b"]) await appendFile(join(root, "plain", name), "!");
    expect(await plain.changed()).toEqual(["a"]);
  });

  test("names the folder that is not there, and a manifest that cannot be read", async () => {
    await expect(openFolder(join(root, "none"), store)).rejects.toThrow(/none": there is no such folder/);
    await mkdir(join(root, "bad"));
    await writeFile(
      join(root, "bad", "manifest.json"),
      '{"format":1,"stage":"x","facts":{},"files":{"../x":{"sha256":"","bytes":0}}}',
    );
    await expect(openFolder(join(root, "bad"), store)).rejects.toThrow(/bad\/manifest.json"/);
  });

  test.each([
    ["manifest.json", '{"name":"app","icons":[]}', "format: Invalid input: expected 1"],
    ["manifest.json", '{\n  "a": 1,\n}\n', /Expected double-quoted.*|.*JSON.*/],
    ["manifest.json", "[]", "Invalid input: expected object, received array"],
    ["record.json", '{"artist":"x"}', /.+/],
  ])("says in a sentence that %s is somebody else's", async (name, text, problem) => {
    await mkdir(join(root, "own"));
    await writeFile(join(root, "own", name), text);
    const error: unknown = await openFolder(join(root, "own"), store).catch((error: unknown) => error);
    const { message } = error as Error;
    const [, found] =
      /own\/\w+\.json": it is not what a stage writes \((.*)\); a file of yours needs another name, /.exec(message)!;
    expect(found).toMatch(problem);
    expect(message).not.toContain("\n");
  });

  test("follows links to files; passes over those to folders or nothing and names that are no UTF-8, and says so", async () => {
    await mkdir(join(root, "in"));
    await writeFile(join(root, "in", "a.png"), "a");
    await symlink("nowhere", join(root, "in", "b.png"));
    await writeFile(Buffer.concat([Buffer.from(join(root, "in", "caf")), Buffer.from([0xe9])]), "");
    const said: string[] = [];
    const opened = await openFolder(join(root, "in"), store, (message) => said.push(message));
    expect(opened.files).toEqual(["a.png"]);
    expect(said.sort()).toEqual([
      `passed over ${JSON.stringify(join(root, "in", "b.png"))}: it is a link to nothing`,
      `passed over ${JSON.stringify(join(root, "in", "caf\ufffd"))}: there is no such file, or its name is no UTF-8`,
    ]);
    await expect(listFiles(join(root, "in"))).rejects.toThrow(DataError);
    await mkdir(join(root, "elsewhere"));
    await writeFile(join(root, "elsewhere", "c"), "c");
    await symlink(join("..", "elsewhere", "c"), join(root, "in", "c.png"));
    await symlink(join("..", "elsewhere"), join(root, "in", "d"));
    await symlink("circle", join(root, "in", "circle"));
    said.length = 0;
    const followed = await openFolder(join(root, "in"), store, (message) => said.push(message));
    expect(followed.files).toEqual(["a.png", "c.png"]);
    expect(await readFile(await followed.path("c.png"), "utf8")).toBe("c");
    expect(said).toContainEqual(expect.stringMatching(/^passed over ".*in\/d": it is a link to a folder, expected/));
    await writeFile(join(root, "elsewhere", "c"), "changed");
    expect(await followed.changed()).toEqual(["c.png"]);
    await symlink("/dev/null", join(root, "in", "e.png"));
    await expect(openFolder(join(root, "in"), store, () => undefined)).rejects.toThrow(
      /e\.png": it is neither a file nor a folder$/,
    );
  });
});

import {
  chmod,
  link,
  mkdir,
  mkdtemp,
  readFile,
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
import { openFolder } from "./folder.js";
import { FilePath, manifestDigest, manifestText, sha256, type Manifest } from "./manifest.js";
import type { StageRecord } from "./record.js";
import { Store } from "./store.js";

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
  return {
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
  };
}

describe("Store", () => {
  test("keeps a file once, under its digest, read-only", async () => {
    const ref = await added("hello");
    expect(ref).toEqual({ sha256: sha256("hello"), bytes: 5 });
    expect(await readFile(store.objectPath(ref.sha256), "utf8")).toBe("hello");
    expect((await stat(store.objectPath(ref.sha256))).mode & 0o777).toBe(0o444);
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

  test("does not answer with a manifest that is not its record's", async () => {
    const key = sha256("key");
    const manifest = manifestOf({ a: await added("hello") });
    await store.remember({ manifest: { ...manifest, facts: { images: 3 } }, record: recordOf(key, manifest) });
    expect(await store.lookup(key)).toBeUndefined();
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

  test("names the folder that is not there, and a manifest that cannot be read", async () => {
    await expect(openFolder(join(root, "none"), store)).rejects.toThrow(/none": there is no such folder/);
    await mkdir(join(root, "bad"));
    await writeFile(
      join(root, "bad", "manifest.json"),
      '{"format":1,"stage":"x","facts":{},"files":{"../x":{"sha256":"","bytes":0}}}',
    );
    await expect(openFolder(join(root, "bad"), store)).rejects.toThrow(/bad\/manifest.json"/);
  });
});

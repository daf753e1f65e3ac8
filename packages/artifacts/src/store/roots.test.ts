import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { sha256 } from "./manifest.js";
import { readRoots, registerRoot } from "./roots.js";
import { Store } from "./store.js";

let root: string;
let store: Store;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "roots-"));
  store = new Store(join(root, "store"));
});
afterEach(() => rm(root, { recursive: true }));

const [A, B] = [sha256("a"), sha256("b")];
const files = async (): Promise<string[]> =>
  (await readdir(join(store.root, "roots"))).map((name) => join(store.root, "roots", name));
async function read(): Promise<Record<string, unknown>> {
  const [path = "", ...others] = await files();
  expect(others).toEqual([]);
  return JSON.parse(await readFile(path, "utf8")) as Record<string, unknown>;
}

describe("registerRoot()", () => {
  test("adds to what is registered, one output after another", async () => {
    await registerRoot(store, root, { "p/s": A, "p/t": A });
    await registerRoot(store, root, { "p/s": B });
    expect(await read()).toEqual({
      host: hostname(),
      workspace: root,
      updatedAt: expect.stringMatching(/Z$/) as string,
      shown: { "p/s": B, "p/t": A },
    });
  });

  test("writes nothing if nothing is new", async () => {
    await registerRoot(store, root, { "p/s": A, "p/t": B });
    const [path = ""] = await files();
    const looks = async (): Promise<bigint[]> => {
      const [file, folder] = [await stat(path, { bigint: true }), await stat(join(path, ".."), { bigint: true })];
      return [file.ino, file.ctimeNs, folder.ctimeNs]; // the folder's: no lock was taken either
    };
    const before = await looks();
    await registerRoot(store, join(root, "."), { "p/t": B });
    expect(await looks()).toEqual(before);
  });

  test("loses nothing when many register at the same time", async () => {
    const outputs = Array.from({ length: 12 }, (_, i) => `p/${i}`);
    await Promise.all(outputs.map((output) => registerRoot(store, root, { [output]: A })));
    expect(await read()).toMatchObject({ shown: Object.fromEntries(outputs.map((output) => [output, A])) });
  });

  test("writes anew what was damaged", async () => {
    await registerRoot(store, root, { "p/s": A });
    const [path = ""] = await files();
    await writeFile(path, "{");
    await registerRoot(store, root, { "p/s": B });
    expect(await read()).toMatchObject({ shown: { "p/s": B } });
  });

  test("keeps workspaces apart", async () => {
    await registerRoot(store, root, { "p/s": A });
    await registerRoot(store, join(root, "other"), { "p/s": B });
    expect(await files()).toHaveLength(2);
  });
});

test("readRoots() knows no workspace of an empty store", async () => {
  expect(await readRoots(store, undefined, true)).toEqual({ roots: [], gone: [] });
});

/** `madformer gc` in workspaces that share a store. */
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { jest } from "@jest/globals";
import { registerRoot, Store } from "@madformer/artifacts";
import { run } from "@madformer/cli";

let root: string;
let store: Store;
const environment = process.env["MADFORMER_STORE"];
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "gc-"));
  store = new Store(join(root, "store"));
  process.env["MADFORMER_STORE"] = store.root;
  for (const workspace of ["mine", "other"]) {
    await mkdir(join(root, workspace, "pipelines"), { recursive: true });
    await writeFile(join(root, workspace, "nx.json"), "{}");
  }
});
afterEach(async () => {
  jest.restoreAllMocks();
  if (environment === undefined) delete process.env["MADFORMER_STORE"];
  else process.env["MADFORMER_STORE"] = environment;
  await rm(root, { recursive: true });
});

async function gc(line: string): Promise<{ code: number; out: string; err: string }> {
  let [out, err] = ["", ""];
  jest.spyOn(process, "cwd").mockReturnValue(join(root, "mine"));
  const args = ["gc", ...line.split(" ").filter(Boolean)];
  const code = await run(args, { out: (text) => (out += text), err: (text) => (err += text) });
  return { code, out, err };
}

test("gc says what it does, whose outputs it keeps, and what it leaves alone; --dry-run does nothing", async () => {
  await mkdir(join(store.root, "work", "old"), { recursive: true });
  const dead = { pid: 2 ** 22 + 1, host: hostname(), started: "" };
  await writeFile(join(store.root, "work", "old.lock"), JSON.stringify(dead));
  await mkdir(join(store.root, "objects"), { recursive: true });
  await writeFile(join(store.root, "objects", "\u001b[2J"), "");
  await registerRoot(store, join(root, "other"), { "p/s": "0".repeat(64) });
  await registerRoot(store, join(root, "gone"), { "p/s": "1".repeat(64) });

  const would = await gc("--older-than 0 --dry-run");
  expect([would.code, would.err]).toEqual([0, ""]);
  expect(would.out).toBe(
    `Would remove 0 objects (0.0 MiB), 0 keys, 1 interrupted work, 1 dead lock and 0 unfinished files
Would keep 0 objects (0.0 MiB) and 0 keys, with all outputs of 2 workspaces
  ${JSON.stringify(join(root, "mine"))}: 0 outputs
  ${JSON.stringify(join(root, "other"))}: 0 outputs
Would forget ${JSON.stringify(join(root, "gone"))}, which is gone
Left alone what is not the store's: "objects/\\u001b[2J"
`,
  );
  expect(await readdir(join(store.root, "roots"))).toHaveLength(2);
  expect((await readdir(join(store.root, "work"))).sort()).toEqual(["old", "old.lock"]);

  const done = await gc("--older-than 0");
  expect(done.out).toBe(
    `Removed 0 objects (0.0 MiB), 0 keys, 1 interrupted work, 1 dead lock and 0 unfinished files
Kept 0 objects (0.0 MiB) and 0 keys, with all outputs of 2 workspaces
Forgot ${JSON.stringify(join(root, "gone"))}, which is gone
Left alone what is not the store's: "objects/\\u001b[2J"
`,
  );
  expect(await readdir(join(store.root, "work"))).toEqual([]);
});

test("gc removes nothing where it cannot tell what a workspace shows", async () => {
  await registerRoot(store, join(root, "other"), { "p/s": "0".repeat(64) });
  const [name = ""] = await readdir(join(store.root, "roots"));
  await writeFile(join(store.root, "roots", name), "{}");
  const { code, out, err } = await gc("--older-than 0");
  expect([code, out]).toEqual([1, ""]);
  expect(err).toMatch(/^Cannot tell what ".*\.json" keeps: host: [^\n]*; remove it[^\n]*\n$/);
});

test("gc takes a number of days", async () => {
  for (const days of ["-1", "x", "Infinity"])
    expect(await gc(`--older-than=${days}`)).toMatchObject({
      code: 2,
      err: expect.stringMatching(/^--older-than is ".*", expected a number of days\n$/) as string,
    });
});

/**
 * The real client: Nx, in a workspace of two tasks, against the server in this process. Whatever happens, its run
 * passes.
 */
import { execFile } from "node:child_process";
import { mkdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { BlobStore, Limits } from "@madformer/cache-server";
import {
  cut,
  folderStore,
  inFolder,
  never,
  READ_TOKEN,
  stalling,
  WRITE_TOKEN,
  withCache,
  type Served,
} from "../src/testing.js";

const NODE_MODULES = fileURLToPath(new URL("../../../node_modules", import.meta.url));
const TASKS = ["one", "two"] as const;

/** What a run of Nx did. */
interface Run {
  readonly status: number;
  /** Tasks whose command ran. */
  readonly ran: readonly string[];
  /** Tasks that came from the server. */
  readonly fetched: readonly string[];
  readonly output: string;
}

/** Makes a workspace: `two` needs `one`; each writes a file of random bytes, of which no two are equal. */
async function makeWorkspace(folder: string, bytes: number): Promise<void> {
  await symlink(NODE_MODULES, join(folder, "node_modules"));
  const nx = {
    neverConnectToCloud: true,
    analytics: false,
    tui: { enabled: false },
    cacheDirectory: ".nx/cache",
    targetDefaults: {
      make: {
        command: `node make.mjs {projectName}`,
        cache: true,
        dependsOn: ["^make"],
        outputs: ["{projectRoot}/out"],
      },
    },
  };
  const make = `
    import { randomBytes } from "node:crypto";
    import { appendFileSync, mkdirSync, writeFileSync } from "node:fs";
    const name = process.argv[2];
    appendFileSync("ran.log", name + " ");
    mkdirSync(name + "/out", { recursive: true });
    writeFileSync(name + "/out/bytes", randomBytes(${bytes}));`;
  const files = {
    "package.json": JSON.stringify({ name: "workspace", private: true }),
    "nx.json": JSON.stringify(nx),
    ".gitignore": ".nx\nout\nran.log\nnode_modules\n",
    "make.mjs": make,
    "one/project.json": JSON.stringify({ name: "one", targets: { make: {} } }),
    "two/project.json": JSON.stringify({ name: "two", targets: { make: {} }, implicitDependencies: ["one"] }),
  };
  for (const name of TASKS) await mkdir(join(folder, name));
  for (const [path, text] of Object.entries(files)) await writeFile(join(folder, path), text);
}

/** Runs Nx as on another machine: with nothing of its own, neither outputs nor cache. */
async function runNx(folder: string, url: string, token: string | undefined): Promise<Run> {
  for (const path of [".nx", "ran.log", "one/out", "two/out"])
    await rm(join(folder, path), { recursive: true, force: true });
  const env: NodeJS.ProcessEnv = {
    PATH: process.env["PATH"],
    HOME: folder,
    CI: "true",
    FORCE_COLOR: "0",
    NX_DAEMON: "false",
    NX_SELF_HOSTED_REMOTE_CACHE_SERVER: url,
    ...(token !== undefined && { NX_SELF_HOSTED_REMOTE_CACHE_ACCESS_TOKEN: token }),
  };
  const nx = join(NODE_MODULES, "nx/dist/bin/nx.js");
  const args = [nx, "run-many", "-t", "make", "--outputStyle=static"];
  const ended = await promisify(execFile)(process.execPath, args, { cwd: folder, env, timeout: 100_000 }).then(
    ({ stdout, stderr }) => ({ status: 0, output: stdout + stderr }),
    (error: { code?: number; stdout?: string; stderr?: string }) => ({
      status: typeof error.code === "number" ? error.code : -1,
      output: `${error.stdout}${error.stderr}`,
    }),
  );
  const ran = (await readFile(join(folder, "ran.log"), "utf8").catch(() => "")).trim();
  const fetched = [...ended.output.matchAll(/nx run (\w+):make .*\[remote cache\]/g)].map(([, name = ""]) => name);
  return { ...ended, ran: ran === "" ? [] : ran.split(" "), fetched };
}

const bytesOf = (folder: string): Promise<Buffer[]> =>
  Promise.all(TASKS.map((name) => readFile(join(folder, name, "out/bytes"))));

/** A workspace, a server in front of a folder with these faults, and what Nx does with them. */
async function withNx(
  options: { bytes?: number; limits?: Partial<Limits>; faults?: (store: BlobStore) => Partial<BlobStore> },
  use: (run: (token?: string | null) => Promise<Run>, folder: string, served: Served) => Promise<void>,
): Promise<void> {
  await inFolder(async (folder) => {
    const [workspace, at] = [join(folder, "workspace"), join(folder, "store")];
    await mkdir(workspace);
    await makeWorkspace(workspace, options.bytes ?? 100_000);
    const sound = await folderStore(at);
    const store = { ...sound, ...options.faults?.(sound) };
    await withCache(store, options.limits ?? {}, (served) =>
      use((token = WRITE_TOKEN) => runNx(workspace, served.url, token ?? undefined), workspace, served),
    );
  });
}

const [NOTHING, ALL]: [string[], string[]] = [[], [...TASKS]];

describe("a run of Nx passes", () => {
  test("and stores what it made, which another machine gets, to the byte", () =>
    withNx({}, async (run, folder, { log }) => {
      expect(await run()).toMatchObject({ status: 0, ran: ALL, fetched: NOTHING });
      const made = await bytesOf(folder);
      expect(await run(READ_TOKEN)).toMatchObject({ status: 0, ran: NOTHING, fetched: ALL });
      expect(await run(READ_TOKEN)).toMatchObject({ status: 0, ran: NOTHING, fetched: ALL });
      expect(await bytesOf(folder)).toEqual(made);
      const [asked, got] = [log.map(({ msg }) => msg).slice(0, 4), log.map(({ msg }) => msg).slice(4)];
      expect(asked).toEqual(["GET 404", "PUT 200", "GET 404", "PUT 200"]);
      expect(new Set(got)).toEqual(new Set(["hit"])); // Nx asks for a task twice, now and then
    }));

  test("with a token to read, and with none: it stores nothing", () =>
    withNx({}, async (run, _, { log }) => {
      expect(await run(READ_TOKEN)).toMatchObject({ status: 0, ran: ALL });
      for (const token of [null, ""]) expect(await run(token)).toMatchObject({ status: 0, ran: ALL });
      expect(log.map(({ msg }) => msg)).not.toContain("PUT 200");
      expect(new Set(log.map(({ reason }) => reason))).toEqual(
        new Set(["there is none", "a token to read", "no token", "an unknown token"]),
      );
    }));

  test("when the store is down", () =>
    withNx({ faults: down }, async (run) => {
      expect(await run()).toMatchObject({ status: 0, ran: ALL });
    }));

  test("when the store does not answer", () =>
    withNx({ faults: () => ({ read: never, size: never, write: never }), limits: { waitMs: 300 } }, async (run) => {
      expect(await run()).toMatchObject({ status: 0, ran: ALL });
    }));

  test("when bodies are larger than the server takes, by their content-length", () =>
    withNx({ bytes: 3_000_000, limits: { maxBytes: 1_000_000 } }, async (run, _, { log }) => {
      expect(await run()).toMatchObject({ status: 0, ran: ALL });
      expect(log.filter(({ msg }) => msg === "PUT 403").map(({ reason }) => reason)).toEqual(
        Array(2).fill("the body has more than 1000000 bytes"),
      );
    }));

  test.each(["stalls", "is cut", "is damaged"])("when a body %s on its way from the store", (problem) => {
    let isFaulty = false;
    const faults = (store: BlobStore): Partial<BlobStore> => ({
      async read(name, signal) {
        const blob = await store.read(name, signal);
        if (!isFaulty || blob === undefined || name.startsWith("keys/")) return blob;
        const chunks: Uint8Array[] = [];
        for await (const chunk of blob.body) chunks.push(chunk);
        const [whole, half] = [Buffer.concat(chunks), blob.bytes >> 1];
        whole[half]! ^= 1;
        const beginning = whole.subarray(0, half);
        const body = { stalls: stalling(beginning), "is cut": cut(beginning), "is damaged": [whole] }[problem]!;
        return { bytes: blob.bytes, body: body as AsyncIterable<Uint8Array> };
      },
    });
    return withNx({ faults, limits: { waitMs: 300 } }, async (run) => {
      expect(await run()).toMatchObject({ status: 0, ran: ALL });
      isFaulty = true;
      expect(await run()).toMatchObject({ status: 0, ran: ALL, fetched: NOTHING });
    });
  });
});

function down(): Partial<BlobStore> {
  const fail = (): Promise<never> => Promise.reject(new Error("connect ECONNREFUSED"));
  return { read: fail, size: fail, write: fail };
}

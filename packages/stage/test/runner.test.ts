/** Stages as processes: interrupted, killed, side by side, on a full disk. */
import { execFileSync, spawn } from "node:child_process";
import { lstat, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { setTimeout as sleep } from "node:timers/promises";

const root = fileURLToPath(new URL("..", import.meta.url));

/** A stage that writes files, some milliseconds each, and notes each file that it makes in a file outside. */
const NUMBERS = `// externals: left-pad@1.0.0
import { appendFileSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
export const stage = {
  name: "numbers",
  summary: "write numbers",
  config: z.strictObject({ files: z.int().default(3), bytes: z.int().default(10), milliseconds: z.int().default(0), hang: z.boolean().default(false) }),
  inputs: { before: { summary: "numbers", optional: true } },
  async run({ files, bytes, milliseconds, hang }, _inputs, { out, files: done, signal, log }) {
    if (hang) await new Promise(() => {});
    for (let i = 0; i < files; i++) {
      signal.throwIfAborted();
      if (done.has(String(i))) continue;
      await sleep(milliseconds);
      writeFileSync(out + "/tmp/" + i, String(i).repeat(bytes));
      await done.add(out + "/tmp/" + i, String(i));
      appendFileSync("made", i + "\\n");
      log.progress("files", i + 1, files);
    }
    return { files };
  },
};
`;

let workspace: string;
beforeEach(async () => {
  await mkdir(join(root, "node_modules"), { recursive: true });
  workspace = await mkdtemp(join(root, "node_modules", "runner-")); // below the package: the stage finds zod
  await mkdir(join(workspace, "pipelines/p"), { recursive: true });
  await writeFile(join(workspace, "numbers.mjs"), NUMBERS);
  await writeFile(join(workspace, "made"), "");
});
afterEach(() => rm(workspace, { recursive: true, force: true }));

const pipeline = (entries: object) => writeFile(join(workspace, "pipelines/p/pipeline.json"), JSON.stringify(entries));
const made = async (): Promise<string[]> =>
  (await readFile(join(workspace, "made"), "utf8")).split("\n").filter(Boolean);
const json = async (stage: string, file: string) =>
  JSON.parse(await readFile(join(workspace, "pipelines/p/out", stage, file), "utf8")) as Record<string, never>;

function start(stage = "numbers", env: NodeJS.ProcessEnv = {}, folder = "pipelines/p") {
  const child = spawn(
    process.execPath,
    ["--no-warnings", "--import", "tsx", join(root, "test/runner-child.ts"), "numbers.mjs", folder, stage],
    { cwd: workspace, env: { ...process.env, TSX_TSCONFIG_PATH: join(root, "tsconfig.json"), ...env } },
  );
  let err = "";
  child.stderr.on("data", (chunk: Buffer) => (err += chunk.toString()));
  const end = new Promise<{ code: number | null; err: string }>((resolve) =>
    child.on("close", (code) => resolve({ code, err })),
  );
  return { child, end };
}
const run = (stage?: string, env?: NodeJS.ProcessEnv) => start(stage, env).end;

/** Waits until so many files were made. */
async function untilMade(count: number): Promise<void> {
  while ((await made()).length < count) await sleep(10);
}

describe("the runner", () => {
  test("registers outputs for the workspace that shows them: a folder of pipelines elsewhere is one of its own", async () => {
    await mkdir(join(workspace, "sweeps/out/s/pipelines/p"), { recursive: true });
    await writeFile(join(workspace, "sweeps/out/s/pipelines/p/pipeline.json"), JSON.stringify({ numbers: {} }));
    await pipeline({ numbers: {} });
    const roots = join(workspace, ".madformer/store/roots");
    const workspaces = async (): Promise<unknown[]> => {
      const files = (await readdir(roots)).filter((name) => name.endsWith(".json"));
      const texts = await Promise.all(files.map((name) => readFile(join(roots, name), "utf8")));
      return texts.map((text) => (JSON.parse(text) as { workspace: string }).workspace);
    };
    expect((await start("numbers", {}, "sweeps/out/s/pipelines/p").end).code).toBe(0);
    expect(await workspaces()).toEqual([join(workspace, "sweeps/out/s")]);
    expect((await run()).err).toBe("numbers: found in the store\n");
    expect((await workspaces()).sort()).toEqual([workspace, join(workspace, "sweeps/out/s")]);
  });

  test("leaves a manifest, a record and links, and finds them in the store the next time", async () => {
    await pipeline({ numbers: {}, more: { uses: "numbers", needs: { before: "numbers" }, config: { files: 1 } } });
    expect(await run()).toMatchObject({ code: 0, err: expect.stringContaining("numbers: done in") as string });
    expect(await json("numbers", "manifest.json")).toMatchObject({ stage: "numbers", facts: { files: 3 } });
    expect(await json("numbers", "record.json")).toMatchObject({
      program: { externals: ["left-pad@1.0.0"] },
      config: { bytes: 10 },
    });
    expect(await readFile(join(workspace, "pipelines/p/out/numbers/files/2"), "utf8")).toBe("2222222222");
    // No link that a browser follows.
    expect((await lstat(join(workspace, "pipelines/p/out/numbers/files/2"))).isFile()).toBe(true);
    expect(await readFile(join(workspace, "pipelines/p/out/numbers/logs/events.jsonl"), "utf8")).toContain('"done":3');
    expect((await run()).err).toBe("numbers: up to date\n");
    expect(await made()).toHaveLength(3);
    expect((await run("more")).code).toBe(0);
    expect((await json("more", "record.json"))["inputs"]).toMatchObject({ before: { stage: "numbers" } });
  });

  test.each([
    ["SIGTERM", 143],
    ["SIGINT", 130],
    ["SIGKILL", null],
  ] as const)("goes on after %s, to the same manifest", async (signal, code) => {
    await pipeline({ numbers: { config: { files: 8, milliseconds: 60 } } });
    const { child, end } = start();
    await untilMade(3);
    child.kill(signal);
    const first = await end;
    expect(first.code).toBe(code);
    if (code !== null) expect(first.err).toContain("stopped; the same command goes on from here");
    const again = await run();
    expect(again).toMatchObject({ code: 0, err: expect.stringContaining("going on with attempt 2") as string });
    expect((await made()).sort()).toEqual(["0", "1", "2", "3", "4", "5", "6", "7"]); // each once
    expect((await json("numbers", "record.json"))["attempts"]).toBe(2);
  });

  test("two at the same time make everything once", async () => {
    await pipeline({ numbers: { config: { files: 6, milliseconds: 80 } } });
    const results = await Promise.all([run(), run()]);
    expect(results.map(({ code }) => code)).toEqual([0, 0]);
    expect(results.map(({ err }) => err).join("")).toMatch(/Waiting for process \d+, which is making the same/);
    expect(await made()).toHaveLength(6);
  });

  test.each<[string, object, NodeJS.ProcessEnv, number, RegExp]>([
    [
      "a config that is wrong",
      { numbers: { config: { files: "many", speed: 3 } } },
      {},
      2,
      /numbers: Stage "numbers" cannot run with .*files: .*; .*speed/,
    ],
    [
      "an input that has not run",
      { numbers: { needs: { before: "other" } }, other: { uses: "numbers" } },
      {},
      1,
      /needs "other", which has not run, .* run other first/,
    ],
    [
      "an input that the stage does not have",
      { numbers: { needs: { after: "x" } }, x: {} },
      {},
      2,
      /needs "after", expected inputs of "numbers": before/,
    ],
    [
      "a store that cannot be written",
      { numbers: {} },
      { MADFORMER_STORE: "numbers.mjs/store" },
      1,
      /numbers: .*numbers\.mjs/,
    ],
    ["a stage that waits for nothing", { numbers: { config: { hang: true } } }, {}, 13, /ended before it was done/],
  ])("says in a sentence what is wrong: %s", async (_, entries, env, code, message) => {
    await pipeline(entries);
    const result = await run("numbers", env);
    expect(result.code).toBe(code);
    expect(result.err).toMatch(message);
    expect(result.err).not.toMatch(/^\s+at /m);
  });

  const disk = smallDisk();
  (disk === undefined ? test.skip : test)(
    disk === undefined
      ? "a full disk (skipped: no tmpfs can be mounted here)"
      : "says that the disk is full, and goes on when there is room",
    async () => {
      const mount = join(workspace, "disk");
      await mkdir(mount);
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=256k", "tmpfs", mount]);
      try {
        await pipeline({ numbers: { config: { files: 4, bytes: 100_000 } } });
        const full = await run("numbers", { MADFORMER_STORE: "disk/store" });
        expect(full.code).toBe(1);
        expect(full.err).toMatch(/the disk is full \(ENOSPC/);
        expect(full.err).not.toMatch(/^\s+at /m);
        execFileSync("mount", ["-o", "remount,size=4m", mount]);
        expect((await run("numbers", { MADFORMER_STORE: "disk/store" })).code).toBe(0);
        for (const i of [0, 1, 2, 3])
          expect(await readFile(join(workspace, "pipelines/p/out/numbers/files", String(i)), "utf8")).toBe(
            String(i).repeat(100_000),
          );
      } finally {
        execFileSync("umount", [mount]);
      }
    },
  );
});

/** Whether this process may mount a small file system; undefined if not. */
function smallDisk(): true | undefined {
  try {
    execFileSync("sh", ["-c", "d=$(mktemp -d) && mount -t tmpfs -o size=64k tmpfs $d && umount $d && rmdir $d"], {
      stdio: "ignore",
    });
    return true;
  } catch {
    return undefined;
  }
}

/** Locks between processes: killed at any moment, and in another pid namespace, as containers are. */
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { setTimeout as sleep } from "node:timers/promises";
import { lockState, takeLock } from "@madformer/artifacts";

const program = fileURLToPath(new URL("lock-child.ts", import.meta.url));
const unshare = ["--pid", "--fork", "--mount-proc", "--kill-child"];
const mayUnshare = spawnSync("unshare", [...unshare, "true"]).status === 0;

let root: string;
let path: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "lock-"));
  path = join(root, "lock");
});
afterEach(() => rm(root, { recursive: true }));

/** A process that takes the lock again and again; `words` gets what it prints. */
function start(words: string[], milliseconds: number, inside: number, silentMs: number, wrap: string[] = []) {
  const args = [program, path, join(root, "file"), milliseconds, inside, silentMs].map(String);
  const [command = "", ...rest] = [...wrap, process.execPath, "--no-warnings", "--import", "tsx", ...args];
  const child = spawn(command, rest, { stdio: ["ignore", "pipe", "inherit"] });
  child.stdout.on("data", (chunk: Buffer) => words.push(...chunk.toString().split("\n").filter(Boolean)));
  return child;
}

async function end(child: ChildProcess): Promise<void> {
  child.kill("SIGKILL");
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
}

test("of many processes that are killed at any moment, never two are inside, and the next goes on", async () => {
  const words: string[] = [];
  const children = Array.from({ length: 4 }, () => start(words, 1e9, 1, 1e9));
  for (const child of children) {
    const before = words.filter((word) => word === "inside").length;
    while (words.filter((word) => word === "inside").length < before + 30) {
      expect(child.exitCode).toBeNull();
      await sleep(5);
    }
    await end(child);
  }
  await using _ = await takeLock(path);
  expect(words).not.toContain("two");
});

test("a process that ends with a lock does not stay for it, and leaves a dead lock", async () => {
  const source = `import { takeLock } from ${JSON.stringify(new URL("../src/store/lock.ts", import.meta.url).href)};
    await takeLock(${JSON.stringify(path)});`;
  await writeFile(join(root, "child.mts"), source);
  const child = spawn(process.execPath, ["--no-warnings", "--import", "tsx", join(root, "child.mts")], {
    cwd: fileURLToPath(new URL("..", import.meta.url)),
    stdio: "inherit",
  });
  expect(await once(child, "exit")).toEqual([0, null]);
  expect(await lockState(path)).toBe("dead");
});

(mayUnshare ? test : test.skip)(
  `a process in another pid namespace is waited for while it lives, and not for ever${mayUnshare ? "" : " (skipped: unshare is not allowed)"}`,
  async () => {
    const words: string[] = [];
    const child = start(words, 1e9, 1e9, 4000, ["unshare", ...unshare]);
    while (!words.includes("inside")) await sleep(10);
    const text = await readFile(path, "utf8");

    const said: string[] = [];
    const waiting = takeLock(path, { silentMs: 2000, onWait: (message) => said.push(message) });
    await sleep(1500);
    expect(await readFile(path, "utf8")).toBe(text);
    expect(said).toEqual([expect.stringContaining("in another container, or before a restart,")]);
    await end(child);
    await using lock = await waiting;
    await lock.assertHeld();
    expect(await readdir(root)).toEqual(["file", "lock"]);
  },
);

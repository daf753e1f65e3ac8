import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { takeLock } from "./lock.js";

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "lock-"));
});
afterEach(() => rm(root, { recursive: true }));

describe("takeLock()", () => {
  test("lets one in at a time, and says once what it waits for", async () => {
    const path = join(root, "lock");
    const inside: string[] = [];
    const said: string[] = [];
    const work = async (name: string): Promise<void> => {
      await using _ = await takeLock(path, { onWait: (message) => said.push(message) });
      inside.push(`${name} in`);
      await sleep(60);
      inside.push(`${name} out`);
    };
    await Promise.all([work("a"), work("b"), work("c")]);
    for (let i = 0; i < inside.length; i += 2) expect(inside[i + 1]).toBe(inside[i]?.replace("in", "out"));
    expect(said).toHaveLength(2);
    expect(said[0]).toContain(`process ${process.pid}`);
    expect(await readdir(root)).toEqual([]);
  });

  test("takes over at once from a process that was killed, and from one whose number is used again", async () => {
    const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"]);
    const path = join(root, "lock");
    await writeFile(path, JSON.stringify({ pid: child.pid, host: hostname(), started: "" }));
    child.kill("SIGKILL");
    await once(child, "exit");
    await using _first = await takeLock(path);
    await writeFile(join(root, "other"), JSON.stringify({ pid: process.pid, host: hostname(), started: "1" }));
    await using _second = await takeLock(join(root, "other"));
  });

  test("takes over a lock that says nothing", async () => {
    await writeFile(join(root, "lock"), "");
    await using _ = await takeLock(join(root, "lock"));
  });

  test("believes a holder on another machine, and can be aborted while it waits", async () => {
    const path = join(root, "lock");
    await writeFile(path, JSON.stringify({ pid: 1, host: "elsewhere", started: "" }));
    const controller = new AbortController();
    const waiting = takeLock(path, {
      signal: controller.signal,
      onWait: (message) => {
        expect(message).toContain("elsewhere");
        controller.abort(new Error("stopped"));
      },
    });
    await expect(waiting).rejects.toThrow("stopped");
  });

  test("is held by one of many that find it abandoned", async () => {
    const path = join(root, "lock");
    await writeFile(path, JSON.stringify({ pid: 2 ** 22 + 1, host: hostname(), started: "" }));
    let [now, most] = [0, 0];
    await Promise.all(
      Array.from({ length: 8 }, async () => {
        await using _ = await takeLock(path);
        most = Math.max(most, ++now);
        await sleep(20);
        now--;
      }),
    );
    expect(most).toBe(1);
  });
});

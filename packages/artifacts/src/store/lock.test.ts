import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmod,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  truncate,
  utimes,
  writeFile,
} from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { jest } from "@jest/globals";
import { lockState, takeLock, tryLock, type Lock } from "./lock.js";
import { guardOf } from "./lock-file.js";
import { newHolder, type Holder } from "./lock-holder.js";

let root: string;
let path: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "lock-"));
  path = join(root, "lock");
});
afterEach(async () => {
  jest.restoreAllMocks();
  await rm(root, { recursive: true });
});

/** No process has this number: Linux gives none above 2^22. */
const NOBODY = 2 ** 22 + 1;
const write = (holder: object, file = path): Promise<void> => writeFile(file, JSON.stringify(holder));
/** A process that lives elsewhere, as far as can be told. */
const ELSEWHERE = { pid: 1, host: "elsewhere", started: "" };
/** A lock of this machine and this pid namespace, as this code writes it. */
const here = async (change: Partial<Holder>): Promise<Holder> => ({ ...(await newHolder()), ...change });
/** Where the guard of `lock` lies, as a process leaves it that is killed while it takes over. */
const guard = (): string => guardOf(path);

/** Takes the lock; fails if it must wait for somebody. */
async function takeAtOnce(at = path): Promise<void> {
  const onWait = (message: string): never => {
    throw new Error(message);
  };
  await using _ = await takeLock(at, { onWait });
}

/** What `takeLock` says before it is stopped, when so many messages have come. */
async function saidWhileWaiting(count = 1): Promise<string[]> {
  const [said, controller] = [[] as string[], new AbortController()];
  const onWait = (message: string): void => {
    if (said.push(message) === count) controller.abort(new Error("stopped"));
  };
  await expect(takeLock(path, { signal: controller.signal, onWait })).rejects.toThrow("stopped");
  return said;
}

describe("takeLock()", () => {
  test("lets one in at a time, and says at once what it waits for", async () => {
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
    expect(said[0]).toBe(`Waiting for process ${process.pid}, which is making the same`);
    expect(await readdir(root)).toEqual([]);
  });

  test("is held by one of many that find it abandoned", async () => {
    await write({ pid: NOBODY, host: hostname(), started: "" });
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
    expect(await readdir(root)).toEqual([]);
  });

  test("can be aborted before and while it waits", async () => {
    await expect(takeLock(path, { signal: AbortSignal.abort(new Error("early")) })).rejects.toThrow("early");
    await write(ELSEWHERE);
    expect(await saidWhileWaiting()).toHaveLength(1);
    expect(JSON.parse(await readFile(path, "utf8"))).toEqual(ELSEWHERE);
  });

  test("says in one sentence that the folder of a lock cannot be made or written to", async () => {
    await writeFile(path, "");
    await expect(takeLock(join(path, "below", "lock"))).rejects.toThrow(
      /^Cannot lock ".*": its folder cannot be made: a part of its path is no folder$/,
    );
    await expect(takeLock("/proc/lock")).rejects.toThrow(/^Cannot lock "\/proc\/lock": [^\n]*$/);
  });
});

describe("takeLock() from a process that can be looked up", () => {
  test("takes over at once when it was killed, and when its number is used again", async () => {
    const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"]);
    await write({ pid: child.pid, host: hostname(), started: "" });
    child.kill("SIGKILL");
    await once(child, "exit");
    await takeAtOnce();
    await write(await here({ started: "1" }));
    await takeAtOnce();
  });

  test("takes over when its number is used again by another user's process", async () => {
    await write(await here({ pid: process.ppid, started: "1" }));
    jest.spyOn(process, "kill").mockImplementation(() => {
      throw Object.assign(new Error("kill EPERM"), { code: "EPERM" });
    });
    await takeAtOnce();
  });

  test("waits for one of another user that started when the lock says", async () => {
    await write(await here({}));
    jest.spyOn(process, "kill").mockImplementation(() => {
      throw Object.assign(new Error("kill EPERM"), { code: "EPERM" });
    });
    expect(await saidWhileWaiting()).toEqual([`Waiting for process ${process.pid}, which is making the same`]);
  });

  test("survives whoever died while taking over, whatever the time of what that one left", async () => {
    for (const time of [new Date("2200-01-01"), new Date("1990-01-01")])
      for (const text of ["", JSON.stringify(await here({ pid: NOBODY }))])
        for (const left of [`${path}.break`, guard()]) {
          await write(await here({ pid: NOBODY }));
          await writeFile(left, text);
          await utimes(left, time, time);
          await takeAtOnce();
          expect((await readdir(root)).filter((name) => name !== "lock.break")).toEqual([]);
        }
  });

  test("says again after ten and thirty seconds, then each minute, for how long it has waited", async () => {
    const start = performance.now();
    const now = performance.now.bind(performance);
    jest.spyOn(performance, "now").mockImplementation(() => start + 60 * (now() - start));
    await using _ = await takeLock(path);
    const said = await saidWhileWaiting(5);
    for (const message of said.slice(1)) expect(message).toMatch(/which is making the same \(for (\d min )?\d+ s\)$/);
    expect(new Set(said).size).toBe(5);
    expect(performance.now() - start).toBeGreaterThan(120_000);
  });
});

describe("takeLock() on what is no lock", () => {
  const good = { pid: 1, host: hostname(), started: "1" };
  test("takes over from whatever no process can have written, and signals nobody", async () => {
    const contents: (string | Uint8Array)[] = [
      "",
      JSON.stringify(good).slice(0, 20),
      "[1, 2]",
      "null",
      JSON.stringify({ host: hostname(), started: "" }),
      JSON.stringify({ pid: 1, started: "" }),
      ...[0, -1, -process.pid, 1.5, 2 ** 31, 1e300, "1", null].map((pid) => JSON.stringify({ ...good, pid })),
      JSON.stringify({ ...good, host: "\u001b[2J" }),
      Buffer.concat([Buffer.from('{"pid":1,"started":"","host":"'), Buffer.of(0xff, 0x22, 0x7d)]),
      JSON.stringify({ ...ELSEWHERE, more: "x".repeat(1 << 20) }),
    ];
    const kill = jest.spyOn(process, "kill");
    await Promise.all(
      contents.map(async (content, i) => {
        await writeFile(join(root, `${i}`), content);
        await takeAtOnce(join(root, `${i}`));
      }),
    );
    expect(kill).not.toHaveBeenCalled();
    expect(await readdir(root)).toEqual([]);
  });

  test("takes over from a file of a terabyte, a folder, a link to nowhere and a pipe", async () => {
    const make: ((at: string) => unknown)[] = [
      async (at) => {
        await writeFile(at, "");
        await truncate(at, 2 ** 40);
      },
      (at) => mkdir(at),
      (at) => symlink("nowhere", at),
      (at) => execFileSync("mkfifo", [at]),
    ];
    await Promise.all(
      make.map(async (one, i) => {
        await one(join(root, `${i}`));
        await takeAtOnce(join(root, `${i}`));
      }),
    );
    expect(await readdir(root)).toEqual([]);
  });

  test("refuses a folder that holds something", async () => {
    await mkdir(path);
    await writeFile(join(path, "thesis.txt"), "");
    await expect(takeAtOnce()).rejects.toThrow(
      /^Cannot lock ".*": it is a folder that is not empty, expected a lock file$/,
    );
    expect(await readdir(path)).toEqual(["thesis.txt"]);
  });

  test("leaves what is being written", async () => {
    await writeFile(path, "");
    const writer = (async () => {
      for (let i = 0; i < 10; i++) {
        await sleep(80);
        await writeFile(path, " ".repeat(i));
      }
      await write(ELSEWHERE);
    })();
    const said = await saidWhileWaiting();
    await writer;
    expect(said[0]).toContain("elsewhere");
  });

  test("takes over from a file that it may not read when that has not changed for long", async () => {
    await write(await here({ pid: NOBODY }));
    await chmod(path, 0);
    await chmod(root, 0o777);
    const isRoot = process.geteuid?.() === 0;
    if (isRoot) process.seteuid?.(65534); // root may read anything
    try {
      expect(await saidWhileWaiting()).toEqual([
        `Waiting for a process that the lock does not name, which is making the same (the lock cannot be read: permission denied; ` +
          `if it is known to be gone, remove ${JSON.stringify(path)})`,
      ]);
      const begun = performance.now();
      await using _ = await takeLock(path, { silentMs: 1200 });
      expect(performance.now() - begun).toBeGreaterThan(1200);
    } finally {
      if (isRoot) process.seteuid?.(0);
    }
  });
});

describe("takeLock() from a process that cannot be looked up", () => {
  test.each<[string, () => Promise<object>, string]>([
    ["on another machine", async () => ELSEWHERE, 'process 1 on "elsewhere"'],
    ["in another container of this host", () => here({ pid: NOBODY, pidNamespace: "pid:[1]" }), "in another container"],
    ["of another boot of this host", () => here({ pid: NOBODY, boot: "b" }), "or before a restart"],
  ])("waits for one %s, and says which file to remove", async (_, holder, whom) => {
    await write(await holder());
    const [said] = await saidWhileWaiting();
    expect(said).toContain(whom);
    expect(said).toContain(`if it is known to be gone, remove ${JSON.stringify(path)}`);
  });

  test("takes over when the lock has shown no sign of life for long, whatever its time says", async () => {
    const times = [new Date("2200-01-01"), new Date("1990-01-01")];
    await Promise.all(
      times.map(async (time, i) => {
        await write(ELSEWHERE, join(root, `${i}`));
        await utimes(join(root, `${i}`), time, time);
        await using _ = await takeLock(join(root, `${i}`), { silentMs: 600 });
      }),
    );
  });

  test("waits as long as the lock is touched", async () => {
    await write(ELSEWHERE);
    const [said, begun] = [[] as string[], performance.now()];
    const touch = setInterval(() => void utimes(path, new Date(), new Date()), 20);
    setTimeout(() => clearInterval(touch), 1500);
    await using _ = await takeLock(path, { silentMs: 1000, onWait: (message) => said.push(message) });
    expect(performance.now() - begun).toBeGreaterThan(1500);
    expect(said).toHaveLength(1);
  });

  test("has not watched while it was stopped itself, or asleep with its machine", async () => {
    await write(ELSEWHERE);
    const now = performance.now.bind(performance);
    const controller = new AbortController();
    let sleeps = 0;
    jest.spyOn(performance, "now").mockImplementation(() => now() + sleeps * 600_000);
    const onWait = (): void => {
      if (++sleeps === 3) controller.abort(new Error("stopped"));
    };
    await expect(takeLock(path, { signal: controller.signal, onWait })).rejects.toThrow("stopped");
    expect(sleeps).toBe(3);
  });

  test("takes over from one that was stopped while it took over from another", async () => {
    await write(await here({ pid: NOBODY }));
    await write(await here({}), guard());
    const said: string[] = [];
    await using _ = await takeLock(path, { silentMs: 600, onWait: (message) => said.push(message) });
    expect(said).toEqual([`Waiting for process ${process.pid}, which is making the same`]);
    expect(await readdir(root)).toEqual(["lock"]);
  });

  test("takes over from one that died while it took over from another", async () => {
    await write(ELSEWHERE);
    await write({ ...ELSEWHERE, pid: 2 }, guard());
    await using _ = await takeLock(path, { silentMs: 600 });
    expect(await readdir(root)).toEqual(["lock"]);
  });
});

describe("a lock that is held", () => {
  const touched = async (): Promise<bigint> => (await stat(path, { bigint: true })).mtimeNs;
  const until = async (condition: () => boolean | Promise<boolean>): Promise<void> => {
    while (!(await condition())) await sleep(10);
  };
  /** Held by this process, and beating fast. */
  const hold = (): Promise<Lock> => takeLock(path, { silentMs: 400 });

  test("shows signs of life", async () => {
    await using lock = await hold();
    const first = await touched();
    await until(async () => (await touched()) !== first);
    await lock.assertHeld();
    expect(lock.signal.aborted).toBe(false);
  });

  test("names process, machine, boot and pid namespace, and a token of its own", async () => {
    const read = async (): Promise<Holder> => JSON.parse(await readFile(path, "utf8")) as Holder;
    const holders: Holder[] = [];
    for (let i = 0; i < 2; i++) {
      await using _ = await hold();
      holders.push(await read());
    }
    expect(holders[0]).toMatchObject({ pid: process.pid, host: hostname() });
    expect(holders[0]?.token).not.toBe(holders[1]?.token);
    if (process.platform === "linux")
      expect(holders[0]).toMatchObject({
        started: expect.stringMatching(/^\d+$/) as string,
        boot: expect.stringMatching(/^[0-9a-f-]{36}$/) as string,
        pidNamespace: expect.stringMatching(/^pid:\[\d+\]$/) as string,
      });
  });

  test.each<[string, () => Promise<void>, RegExp]>([
    ["taken over", () => write({ ...ELSEWHERE, pid: 7 }), /^lost the lock ".*" to process 7 on "elsewhere"$/],
    ["removed", () => rm(path), /^lost the lock ".*": it was removed$/],
    ["overwritten", () => writeFile(path, "x"), /^lost the lock ".*": it was overwritten$/],
  ])("notices that it was %s", async (_, lose, message) => {
    await using lock = await hold();
    await lose();
    await until(() => lock.signal.aborted);
    expect((lock.signal.reason as Error).message).toMatch(message);
    await expect(lock.assertHeld()).rejects.toThrow(message);
  });

  test("notices the loss when asked, before the next sign of life", async () => {
    await using lock = await takeLock(path);
    await write(ELSEWHERE);
    await expect(lock.assertHeld()).rejects.toThrow(/^lost the lock/);
    expect(lock.signal.aborted).toBe(true);
  });

  test("that was lost is left to whom it belongs", async () => {
    const lock = await takeLock(path);
    await write(ELSEWHERE);
    await lock[Symbol.asyncDispose]();
    expect(JSON.parse(await readFile(path, "utf8"))).toEqual(ELSEWHERE);
  });

  test("is given back although somebody died while taking it over", async () => {
    const lock = await takeLock(path);
    await write(await here({ pid: NOBODY }), guard());
    await lock[Symbol.asyncDispose]();
    expect(await readdir(root)).toEqual([]);
  });

  test("is not taken by tryLock(), which takes a dead or a silent one", async () => {
    {
      await using _ = await takeLock(path);
      expect(await tryLock(path)).toBeUndefined();
      expect(await lockState(path)).toBe("held");
    }
    expect(await lockState(path)).toBe("free");
    const left = [await here({ pid: NOBODY }), ELSEWHERE, {}];
    await Promise.all(
      left.map(async (holder, i) => {
        const at = join(root, `${i}`);
        await write(holder, at);
        expect(await lockState(at, { silentMs: 600 })).toBe("dead");
        expect(JSON.parse(await readFile(at, "utf8"))).toEqual(holder);
        await using lock = await tryLock(at, { silentMs: 600 });
        await lock?.assertHeld();
        expect(lock).toBeDefined();
      }),
    );
    expect(await readdir(root)).toEqual([]);
  });

  test("of somebody elsewhere counts as held at the first sign of life", async () => {
    await write(ELSEWHERE);
    const touch = setInterval(() => void utimes(path, new Date(), new Date()), 50);
    expect([await lockState(path), await tryLock(path)]).toEqual(["held", undefined]);
    clearInterval(touch);
  });
});

import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { request } from "node:http";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { run } from "@madformer/cache-server";
import { inFolder, READ_TOKEN, WRITE_TOKEN } from "../src/testing.js";

const TOKENS = { MADFORMER_CACHE_READ_TOKEN: READ_TOKEN, MADFORMER_CACHE_WRITE_TOKEN: WRITE_TOKEN };

interface Ran {
  readonly status: number;
  readonly out: string;
  readonly err: string;
  readonly log: string;
}

/** Runs the server in this process; it stops when it listens, after `use`. */
async function runHere(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>> = {},
  use: (url: string) => Promise<void> = async () => undefined,
): Promise<Ran> {
  const stopping = new AbortController();
  let [out, err, log, failure]: [string, string, string, unknown] = ["", "", "", undefined];
  const status = await run(args, {
    out: (text) => void (out += text),
    err: (text) => void (err += text),
    env,
    signal: stopping.signal,
    log: { write: (line) => void (log += line) },
    onListening: (url) =>
      void use(url)
        .catch((error: unknown) => (failure = error))
        .finally(() => stopping.abort()),
  });
  if (failure !== undefined) throw failure as Error;
  return { status, out, err, log };
}

describe("npm run cache-server", () => {
  test("prints its help", async () => {
    const { status, out, err } = await runHere(["--help"]);
    expect({ status, err }).toEqual({ status: 0, err: "" });
    for (const word of ["--store", "--read-token-file", "MADFORMER_CACHE_WRITE_TOKEN", "127.0.0.1", "8650"])
      expect(out).toContain(word);
  });

  test("serves a folder, at loopback, with tokens from files", () =>
    inFolder(async (folder) => {
      for (const [name, token] of [
        ["read", READ_TOKEN],
        ["write", WRITE_TOKEN],
      ] as const)
        // prettier-ignore
        await writeFile(join(folder, name), `${token}\n`);
      const tokens = ["--read-token-file", join(folder, "read"), "--write-token-file", join(folder, "write")];
      const args = ["--port", "0", "--store", join(folder, "store"), "--spool", folder, ...tokens];
      const { status, err, log } = await runHere(args, {}, async (url) => {
        expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
        const ask = (token: string, init: RequestInit = {}) =>
          fetch(`${url}/v1/cache/12`, { ...init, headers: { authorization: `Bearer ${token}` } });
        expect((await ask(READ_TOKEN, { method: "PUT", body: "a body" })).status).toBe(403);
        expect((await ask(WRITE_TOKEN, { method: "PUT", body: "a body" })).status).toBe(200);
        expect(await (await ask(READ_TOKEN)).text()).toBe("a body");
      });
      expect({ status, err }).toEqual({ status: 0, err: "" });
      const lines = log.trim().split("\n").map((line) => (JSON.parse(line) as { msg: string }).msg); // prettier-ignore
      expect(lines.filter((msg) => msg !== "hit")).toEqual(["listening", "PUT 403", "PUT 200", "stopping", "stopped"]);
      for (const token of [READ_TOKEN, WRITE_TOKEN]) expect(log).not.toContain(token);
      expect((await readdir(folder)).sort()).toEqual(["read", "store", "write"]); // the spool is gone
    }));

  test.each<[readonly string[], Readonly<Record<string, string>>, string]>([
    [[], {}, "Cannot start without a token: expected MADFORMER_CACHE_READ_TOKEN,"],
    [
      [],
      { MADFORMER_CACHE_WRITE_TOKEN: "short" },
      "Cannot use the write token: it has 5 characters, expected 16 at least",
    ],
    [
      [],
      { ...TOKENS, MADFORMER_CACHE_READ_TOKEN: WRITE_TOKEN },
      "Cannot start: the read token and the write token are equal",
    ],
    [["--read-token-file", "/none"], {}, 'Cannot read the read token in "/none": ENOENT'],
    [["--read-token-file", "/none"], TOKENS, "Cannot use --read-token-file: MADFORMER_CACHE_READ_TOKEN is set too"],
    [["--port", "65536"], TOKENS, 'Cannot use --port "65536": expected a whole number, 0 to 65535'],
    [["--max-mib", "0"], TOKENS, 'Cannot use --max-mib "0": expected a whole number, 1 to 1048576'],
    [["--wait", "soon"], TOKENS, 'Cannot use --wait "soon": expected a whole number, 1 to 3600'],
    [["--log-level", "loud"], TOKENS, 'Cannot use --log-level "loud": expected trace, debug, info,'],
    [["--write-token", WRITE_TOKEN], {}, "Unknown option '--write-token'"],
    [["store"], TOKENS, "Unexpected argument 'store'"],
    [["--store", "s3://"], TOKENS, 'Cannot use "s3://": expected s3://bucket/prefix'],
  ])("does not start with %p and %p", async (args, env, message) => {
    const { status, out, err } = await runHere(args, env);
    expect({ status, out }).toEqual({ status: args.includes("s3://") ? 1 : 2, out: "" });
    expect(err).toContain(message);
    expect(err).not.toContain("    at ");
  });

  test("says in a sentence that its port is taken, or its folder none", () =>
    inFolder(async (folder) => {
      const other = createServer().listen(0, "127.0.0.1");
      await once(other, "listening");
      const port = `${(other.address() as AddressInfo).port}`;
      const taken = await runHere(["--port", port, "--store", folder], TOKENS);
      expect(taken).toMatchObject({ status: 1, err: `Cannot listen at 127.0.0.1:${port}: EADDRINUSE\n` });
      other.close();
      await writeFile(join(folder, "file"), "");
      const none = await runHere(["--port", "0", "--store", join(folder, "file")], TOKENS);
      expect(none).toMatchObject({ status: 1, err: expect.stringContaining("as a store: ENOTDIR\n") as string });
    }));

  test("warns when others can connect", () =>
    inFolder(async (folder) => {
      const { log } = await runHere(["--host", "0.0.0.0", "--port", "0", "--store", folder], TOKENS);
      expect(log).toContain("nothing is encrypted");
    }));
});

describe("the process", () => {
  const MAIN = fileURLToPath(new URL("../src/main.ts", import.meta.url));
  const ROOT = fileURLToPath(new URL("../../..", import.meta.url));

  test("goes on when what takes its log is gone", () =>
    inFolder(async (folder) => {
      const { child, url } = await start(folder);
      child.stdout!.destroy();
      const headers = { authorization: `Bearer ${WRITE_TOKEN}` };
      for (const status of [200, 409, 409])
        expect((await fetch(`${url}/v1/cache/12`, { method: "PUT", headers, body: "a body" })).status).toBe(status);
      const exited = once(child, "exit");
      child.kill("SIGTERM");
      expect(await exited).toEqual([0, null]);
    }));

  /** Starts it as npm's script does, and waits until it listens. */
  async function start(folder: string): Promise<{ child: ChildProcess; url: string; log: () => string }> {
    await mkdir(join(folder, "store"));
    const args = ["--import", "tsx", MAIN, "--port", "0", "--store", join(folder, "store"), "--spool", folder];
    const env = { ...process.env, ...TOKENS, npm_lifecycle_event: undefined };
    const child = spawn(process.execPath, args, { cwd: ROOT, env, stdio: ["ignore", "pipe", "inherit"] });
    let log = "";
    child.stdout.on("data", (text: Buffer) => void (log += text.toString()));
    while (!log.includes("\n")) await once(child.stdout, "data");
    return { child, url: (JSON.parse(log.split("\n")[0]!) as { url: string }).url, log: () => log };
  }

  test.each(["SIGTERM", "SIGINT"] as const)("ends on %s when what is being answered has ended", (signal) =>
    inFolder(async (folder) => {
      const { child, url, log } = await start(folder);
      const exited = once(child, "exit");
      const headers = { authorization: `Bearer ${WRITE_TOKEN}`, "content-length": 6, expect: "100-continue" };
      const asked = request(`${url}/v1/cache/12`, { method: "PUT", headers });
      const answered = once(asked, "response");
      asked.flushHeaders();
      await once(asked, "continue"); // it is being answered
      asked.write("a b");
      child.kill(signal);
      while (!log().includes("stopping")) await once(child.stdout!, "data");
      asked.end("ody");
      const [response] = (await answered) as [{ statusCode: number; resume: () => void }];
      response.resume();
      expect(response.statusCode).toBe(200);
      expect(await exited).toEqual([0, null]);
      expect(log()).toContain("stopped");
      expect(await readdir(folder)).toEqual(["store"]);
    }),
  );
});

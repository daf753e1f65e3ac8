/**
 * `madformer push`, `verify --remote` and `gc --remote` in a workspace of one pipeline with one stage, and a bucket in
 * memory.
 */
import { rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { sha256 } from "@madformer/artifacts";
import { helloWorkspace, madformer as run, runHello } from "../src/testing.js";

let root: string;
let server: Server;
const bucket = new Map<string, { bytes: Buffer; modified: Date }>();
const before = { cwd: process.cwd(), env: { ...process.env } };

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url!, "http://server");
  const [path, prefix] = [url.pathname.slice("/bucket/".length), url.searchParams.get("prefix") ?? ""];
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const bytes = Buffer.concat(chunks);
  const found = bucket.get(path);
  if (url.searchParams.has("list-type")) {
    const entries = [...bucket].filter(([key]) => key.startsWith(prefix));
    const contents = entries.map(
      ([key, one]) =>
        `<Contents><Key>${key}</Key><Size>${one.bytes.length}</Size><LastModified>${one.modified.toISOString()}</LastModified></Contents>`,
    );
    response.end(`<ListBucketResult><IsTruncated>false</IsTruncated>${contents.join("")}</ListBucketResult>`);
  } else if (request.method === "POST") {
    for (const [, key] of bytes.toString().matchAll(/<Key>(.*?)<\/Key>/g)) bucket.delete(key!);
    response.end("<DeleteResult></DeleteResult>");
  } else if (request.method === "PUT") {
    const claimed = String(request.headers["x-amz-content-sha256"]);
    const isWrong = /^[0-9a-f]{64}$/.test(claimed) && claimed !== sha256(bytes);
    const isTaken = request.headers["if-none-match"] === "*" && found !== undefined;
    if (!isWrong && !isTaken) bucket.set(path, { bytes, modified: new Date(Date.now() - 1000) });
    response.writeHead(isTaken ? 412 : isWrong ? 400 : 200).end();
  } else if (found === undefined) response.writeHead(404).end("<Error><Code>NoSuchKey</Code></Error>");
  else
    response.writeHead(200, { "content-length": found.bytes.length }).end(request.method === "GET" ? found.bytes : "");
}

beforeEach(async () => {
  root = await helloWorkspace();
  process.chdir(root);
  bucket.clear();
  server = createServer((request, response) => void answer(request, response));
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  process.env["AWS_ENDPOINT_URL"] = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  Object.assign(process.env, { AWS_ACCESS_KEY_ID: "key", AWS_SECRET_ACCESS_KEY: "secret" });
  await writeFile(join(root, "madformer.json"), JSON.stringify({ remote: "s3://bucket/team" }));
});
afterEach(async () => {
  process.chdir(before.cwd);
  process.env = { ...before.env };
  server.closeAllConnections();
  await new Promise((closed) => server.close(closed));
  await rm(root, { recursive: true });
});

/** Runs a command; servers are `HOST`, the workspace is `ROOT`. */
async function madformer(...args: string[]) {
  const { err, ...rest } = await run(...args);
  return { ...rest, err: err.replaceAll(/127\.0\.0\.1:\d+/g, "HOST").replaceAll(root, "ROOT") };
}

const OBJECT = `team/objects/${sha256("hello").slice(0, 2)}/${sha256("hello")}`;

test("push sends what is not there, says so, and says what it cannot send with exit code 1", async () => {
  const store = await runHello();
  const dry = await madformer("push", "--dry-run", "--json");
  expect(JSON.parse(dry.out)).toMatchObject({
    remote: "s3://bucket/team",
    dryRun: true,
    stages: [{ stage: "p/hello", named: true }],
  });
  expect(bucket.size).toBe(0);
  expect(await madformer("push")).toMatchObject({
    code: 0,
    out: expect.stringMatching(/^Pushed \d objects \(0\.0 MiB\) of 1 stages to s3:\/\/bucket\/team\n$/) as string,
  });
  expect(bucket.get(OBJECT)?.bytes.toString()).toBe("hello");
  expect((await madformer("push", "p", "hello")).out).toBe("Pushed nothing new of 1 stages to s3://bucket/team\n");
  bucket.delete(OBJECT);
  await store.remove(sha256("hello"));
  expect(await madformer("push")).toMatchObject({
    code: 1,
    out: "Pushed nothing new of 1 stages to s3://bucket/team; 1 could not be pushed\n",
    err: expect.stringContaining(
      `p/hello: Cannot push s3://bucket/${OBJECT} at HOST: it is neither there nor in "ROOT/.madformer/store"\n`,
    ) as string,
  });
});

test("verify --remote finds what is damaged there, and mends it", async () => {
  await runHello();
  await madformer("push");
  expect((await madformer("verify", "--remote")).out).toMatch(
    /^Looked at 1 keys and \d objects .*: nothing is wrong\n$/,
  );
  bucket.get(OBJECT)!.bytes = Buffer.from("hallo");
  const where = `s3://bucket/${OBJECT}: it is damaged`;
  expect(await madformer("verify", "--remote", "--deep", "--dry-run")).toMatchObject({
    code: 1,
    out: expect.stringContaining(`! ${where}\n`) as string,
  });
  expect(await madformer("verify", "--remote", "--deep")).toMatchObject({
    code: 0,
    out: expect.stringContaining(`+ ${where}; uploaded again\n`) as string,
  });
  expect(bucket.get(OBJECT)?.bytes.toString()).toBe("hello");
});

test("gc --remote counts by default, keeps what pipelines show, and removes the rest when it is told to", async () => {
  await runHello();
  await madformer("push");
  const all = bucket.size;
  await madformer("gc", "--remote", "--older-than", "0", "--delete", "--wait", "0");
  expect(bucket.has(OBJECT)).toBe(true);
  await rm(join(root, "pipelines/p/out"), { recursive: true });
  await rm(join(root, ".madformer/store/roots"), { recursive: true, force: true });
  expect((await madformer("gc", "--remote", "--older-than", "0")).out).toMatch(
    /^Would remove 1 keys, 1 records and \d objects/,
  );
  expect(bucket.size).toBe(all);
  expect((await madformer("gc", "--remote", "--older-than", "0", "--delete")).out).toMatch(
    /^Marked 1 keys, .*; the same command removes it after 2/,
  );
  expect((await madformer("gc", "--remote", "--older-than", "0", "--delete")).out).toMatch(/^Nothing was removed/);
  expect((await madformer("gc", "--remote", "--older-than", "0", "--delete", "--wait", "0")).out).toMatch(
    /^Removed 1 keys/,
  );
  expect([...bucket.keys()]).toEqual(["team/trusted/gc/state.json"]);
  expect(await madformer("gc", "--delete")).toMatchObject({
    code: 2,
    err: "--delete has no effect without --remote\n",
  });
});

test("says where a remote store is named when there is none, or the name is none", async () => {
  await rm(join(root, "madformer.json"));
  expect(await madformer("push")).toEqual({
    code: 2,
    out: "",
    err: 'There is no remote store: name one in MADFORMER_REMOTE, or as "remote" in madformer.json, such as s3://bucket/prefix\n',
  });
  await writeFile(join(root, "madformer.json"), JSON.stringify({ remote: "bucket" }));
  expect(await madformer("push")).toMatchObject({
    code: 1,
    err: 'Cannot use "remote" of madformer.json: found "bucket", expected s3://bucket/prefix or off\n',
  });
  await writeFile(join(root, "madformer.json"), JSON.stringify({ remotes: 1 }));
  expect((await madformer("push")).err).toMatch(
    /^Cannot use "ROOT\/madformer\.json": it: Unrecognized key: "remotes"\n$/,
  );
  process.env["MADFORMER_REMOTE"] = "off";
  expect((await madformer("push")).err).toMatch(/^There is no remote store/);
});

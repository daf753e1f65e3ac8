import { existsSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import { sha256, Store, type Artifact } from "@madformer/artifacts";
import { z } from "zod";
import type { Compute, Computing } from "./compute.js";
import { parseConfig } from "./config.js";
import { entryDigest, outputFolder, putOutput, readOutput } from "./output.js";
import type { Outside } from "./outside.js";
import { readPipeline, type Pipeline } from "./pipeline.js";
import { runStage, type BundleDigest } from "./run.js";
import { defineStage, type Stage } from "./stage.js";

/** A folder with a store, and what was said. */
export interface Bench extends AsyncDisposable {
  readonly root: string;
  readonly store: Store;
  readonly stream: NodeJS.WriteStream;
  said(): string;
  /** An artifact of stage `words` with one file, `words`. */
  words(text: string): Promise<Artifact>;
}

export async function bench(): Promise<Bench> {
  const root = await mkdtemp(join(tmpdir(), "stage-"));
  const store = new Store(join(root, "store"));
  let [said, calls] = ["", 0];
  const stream = new Writable({
    write(chunk: Buffer, _, done) {
      said += chunk.toString();
      done();
    },
  }) as unknown as NodeJS.WriteStream;
  return {
    root,
    store,
    stream,
    said: () => said,
    words: async (text) => {
      const path = join(root, `words-${calls++}`);
      await writeFile(path, text);
      const ref = await store.add(path);
      await rm(path);
      return store.artifact({ manifest: { format: 1, stage: "words", facts: {}, files: { words: ref } } });
    },
    [Symbol.asyncDispose]: () => rm(root, { recursive: true, force: true }),
  };
}

export const program = (text: string): BundleDigest => ({ sha256: sha256(text), externals: ["left-pad@1.0.0"] });

/** What a test wants to happen while the stage `repeat` runs. */
export interface Hooks {
  onFile?: (name: string, out: string) => Promise<void> | void;
}

/**
 * Two engines, of which the second has two precisions; `within()` is what programs would be compiled for now.
 *
 * @param installed A file that holds the version of the second.
 */
export function engines(installed?: string) {
  let now: Compute | undefined;
  const precisions = { one: ["plain"], two: ["plain", "rough"] } as Readonly<Record<string, readonly string[]>>;
  const computing: Computing = {
    engines: precisions,
    choose({ engine = process.env["MADFORMER_ENGINE"] || "one", precision, threads }) {
      const known = precisions[engine];
      if (known === undefined) throw new RangeError(`the engine is "${engine}", expected one of "one", "two"`);
      const version =
        engine === "two" && installed !== undefined && existsSync(installed)
          ? readFileSync(installed, "utf8")
          : undefined;
      return {
        engine,
        precision: precision ?? known[0] ?? "",
        ...(version === undefined ? {} : { version }),
        ...(threads === undefined ? {} : { threads }),
      };
    },
    places: ({ engine }) => (engine === "two" && installed !== undefined ? [installed] : []),
    async within(compute, work) {
      now = compute;
      return await work().finally(() => (now = undefined));
    },
  };
  return { computing, within: () => now };
}

/** A stage that repeats the words of its input, a file at a time, and keeps the files that are there. */
export function repeatStage(hooks: Hooks = {}) {
  const made: string[] = [];
  const stage = defineStage({
    name: "repeat",
    summary: "repeat words",
    config: z
      .strictObject({
        times: z.int().min(1).default(2).describe("Files"),
        suffix: z.string().default("").describe("Added to each"),
      })
      .readonly(),
    inputs: { words: { summary: "the words" } },
    async run({ times, suffix }, { words }, { out, files, signal, log }) {
      const { readFile } = await import("node:fs/promises");
      const text = await readFile(await words.path("words"), "utf8");
      for (let i = 0; i < times; i++) {
        signal.throwIfAborted();
        const name = `${i}.txt`;
        log.progress("files", i, times);
        if (files.has(name)) continue;
        await hooks.onFile?.(name, out);
        await writeFile(join(out, "tmp", name), `${text}${suffix}${i}`);
        await files.add(join(out, "tmp", name), name);
        made.push(name);
      }
      return { files: times };
    },
  });
  return { stage, made };
}

export interface TwoStages {
  readonly pipeline: Pipeline;
  readonly stages: Readonly<Record<string, Stage<never>>>;
}

/** A pipeline of two stages: `first` repeats a word that does not change, `second` what `first` made. */
export async function twoStages(on: Bench, config: object = {}, outside: readonly Outside[] = []): Promise<TwoStages> {
  const folder = join(on.root, "p");
  await mkdir(folder, { recursive: true });
  await writeFile(
    join(folder, "pipeline.json"),
    JSON.stringify({
      first: { uses: "first", config },
      second: { uses: "second", needs: { words: "first" }, config: { times: 1 } },
    }),
  );
  const words = await on.words("hi");
  const repeat = repeatStage().stage;
  // `first` has no input in the pipeline; `second` reads 0.txt of it.
  const first = {
    ...repeat,
    name: "first",
    inputs: {},
    outside: () => outside,
    run: (c: never, _: unknown, x: never) => repeat.run(c, { words }, x),
  };
  const second = {
    ...repeat,
    name: "second",
    run: (c: never, { words: from }: { words: typeof words }, x: never) =>
      repeat.run(c, { words: { ...from, path: () => from.path("0.txt") } }, x),
  };
  const stages: Record<string, Stage<never>> = { first: first as never, second: second as never };
  return { pipeline: readPipeline(folder), stages };
}

/** Runs them as the runner does, and says what was made, and whether that was known. */
export async function runAll(on: Bench, { pipeline, stages }: TwoStages, code: BundleDigest) {
  const made: Record<string, Awaited<ReturnType<typeof runStage>>> = {};
  for (const entry of pipeline.stages) {
    const { name, uses, needs, config, compute } = entry;
    const stage = stages[uses] as Stage<never>;
    const inputs = Object.fromEntries(
      Object.entries(needs).map(([input, need]) => [input, on.store.artifact(made[need] as never)]),
    );
    const { store, stream } = on;
    const shown = await readOutput(outputFolder(pipeline.folder, name));
    const options = { program: code, store, stream, signal: new AbortController().signal, compute, shown };
    made[name] = await runStage(stage, parseConfig(stage, config), inputs, options);
    const { record, asked, engine, outside } = made[name];
    const checked = { key: record.key, entry: entryDigest(entry), program: code.sha256, asked, engine, outside };
    await putOutput(pipeline.folder, name, made[name], checked, store);
  }
  return made;
}

/** A bucket in memory, behind a server that answers as S3 does to what a run asks. */
export interface StandIn {
  readonly objects: Map<string, Buffer>;
  /** `GET bucket/key`, in order. */
  readonly asked: string[];
  /** Answers instead. @returns Whether it did. */
  fault: ((request: IncomingMessage, response: ServerResponse, path: string) => boolean) | undefined;
  /** Ends it: who asks is refused the connection. */
  stop(): Promise<void>;
}

/** Runs with a remote store, `s3://bucket/team`. */
export async function withRemote<T>(use: (standIn: StandIn) => Promise<T>): Promise<T> {
  const server = createServer((request, response) => void answer(standIn, request, response));
  const stop = async (): Promise<void> => {
    server.closeAllConnections();
    if (server.listening) await new Promise((closed) => server.close(closed));
  };
  const standIn: StandIn = { objects: new Map(), asked: [], fault: undefined, stop };
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const variables = {
    AWS_ENDPOINT_URL: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    AWS_ACCESS_KEY_ID: "key",
    AWS_SECRET_ACCESS_KEY: "secret",
    MADFORMER_REMOTE: "s3://bucket/team",
  };
  const before = Object.keys(variables).map((name) => [name, process.env[name]] as const);
  Object.assign(process.env, variables);
  try {
    return await use(standIn);
  } finally {
    for (const [name, value] of before)
      if (value === undefined) Reflect.deleteProperty(process.env, name);
      else process.env[name] = value;
    await stop();
  }
}

async function answer(on: StandIn, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url!, "http://server");
  const path = decodeURIComponent(url.pathname.slice(1));
  on.asked.push(`${request.method} ${path}`);
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  if (on.fault?.(request, response, path)) return;
  if (url.searchParams.has("list-type")) {
    const keys = [...on.objects.keys()].filter((key) => key.startsWith(`bucket/${url.searchParams.get("prefix")}`));
    const contents = keys.map(
      (key) =>
        `<Contents><Key>${key.slice("bucket/".length)}</Key><Size>${on.objects.get(key)!.length}</Size></Contents>`,
    );
    response.end(`<ListBucketResult><IsTruncated>false</IsTruncated>${contents.join("")}</ListBucketResult>`);
  } else if (request.method === "POST") response.end("<DeleteResult></DeleteResult>");
  else if (request.method === "PUT") {
    const taken = request.headers["if-none-match"] === "*" && on.objects.has(path);
    const claimed = String(request.headers["x-amz-content-sha256"]);
    const bytes = Buffer.concat(chunks);
    const wrong = /^[0-9a-f]{64}$/.test(claimed) && claimed !== sha256(bytes);
    if (!taken && !wrong) on.objects.set(path, bytes);
    response.writeHead(taken ? 412 : wrong ? 400 : 200).end();
  } else {
    const found = on.objects.get(path);
    if (found === undefined) return void response.writeHead(404).end("<Error><Code>NoSuchKey</Code></Error>");
    response.writeHead(200, { "content-length": found.length }).end(request.method === "HEAD" ? undefined : found);
  }
}

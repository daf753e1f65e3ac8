/** What the tests of commands share: running one, and a workspace of one pipeline with one stage. */
import { mkdir, mkdtemp, realpath, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sha256, Store } from "@madformer/artifacts";
import { defineStage, entryDigest, putOutput, readPipeline, runStage } from "@madformer/stage";
import { z } from "zod";
import { run } from "./index.js";

/** Runs a command in this process; what a terminal would show of it is in `err`, progress included. */
export async function madformer(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  let [out, err] = ["", ""];
  const stream = { write: (text: string) => ((err += text), true) } as unknown as NodeJS.WriteStream;
  const code = await run(args, { out: (text) => (out += text), err: (text) => (err += text), stream });
  return { code, out, err };
}

/** A workspace with the pipeline `p`, whose only stage is `hello`. */
export async function helloWorkspace(): Promise<string> {
  const root = await realpath(await mkdtemp(join(tmpdir(), "hello-")));
  await writeFile(join(root, "nx.json"), "{}");
  await mkdir(join(root, "pipelines/p"), { recursive: true });
  await writeFile(join(root, "pipelines/p/pipeline.json"), JSON.stringify({ hello: {} }));
  return root;
}

/**
 * Runs that stage, in the workspace that is the current folder, and shows what it made: `hello.txt`.
 *
 * @param folder Of another pipeline with that stage, to show it there.
 */
export async function runHello(folder = "pipelines/p"): Promise<Store> {
  const store = Store.at(".");
  const stage = defineStage({
    name: "hello",
    summary: "write hello",
    config: z.strictObject({}),
    inputs: {},
    run: async (_config, _inputs, { files }) => {
      await files.write("hello.txt", "hello");
      return {};
    },
  });
  const program = { sha256: sha256("program"), externals: [] };
  const made = await runStage(stage, {}, {}, { store, program, signal: new AbortController().signal });
  const [entry] = readPipeline(folder).stages;
  const checked = { key: made.record.key, entry: entryDigest(entry!), program: program.sha256, outside: [] };
  await putOutput(folder, "hello", made, checked, store);
  return store;
}

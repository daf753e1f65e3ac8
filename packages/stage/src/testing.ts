import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import { sha256, Store, type Artifact } from "@madformer/artifacts";
import { z } from "zod";
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
    const { name, uses, needs, config } = entry;
    const stage = stages[uses] as Stage<never>;
    const inputs = Object.fromEntries(
      Object.entries(needs).map(([input, need]) => [input, on.store.artifact(made[need] as never)]),
    );
    const { store, stream } = on;
    const shown = await readOutput(outputFolder(pipeline.folder, name));
    const options = { program: code, store, stream, signal: new AbortController().signal, shown };
    made[name] = await runStage(stage, parseConfig(stage, config), inputs, options);
    const { record, outside } = made[name];
    const checked = { key: record.key, entry: entryDigest(entry), program: code.sha256, outside };
    await putOutput(pipeline.folder, name, made[name], checked, store);
  }
  return made;
}

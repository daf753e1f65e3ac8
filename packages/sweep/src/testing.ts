import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sha256, Store, type Artifact, type Made } from "@madformer/artifacts";
import {
  defineStage,
  entryDigest,
  outputFolder,
  parseConfig,
  putOutput,
  readOutput,
  readPipeline,
  runStage,
  type BundleDigest,
  type Stage,
} from "@madformer/stage";
import { z } from "zod";
import { checkSweep, type SweepFile } from "../plain/sweep-file.mjs";
import { jobsOf } from "./jobs.js";
import { runsOf } from "./points.js";
import type { SweepRunOptions } from "./run.js";

const Kind = z
  .discriminatedUnion("kind", [
    z.strictObject({ kind: z.literal("plain") }),
    z.strictObject({ kind: z.literal("warm"), steps: z.int().min(1).default(5) }),
  ])
  .readonly();
const Model = z
  .strictObject({ width: z.int().default(8), heads: z.int().default(2) })
  .refine((c) => c.width % c.heads === 0, { path: ["heads"], error: "heads must divide width" });

const nothing = async () => ({});

/** Stages of a small pipeline, which do nothing. */
export const STAGES: Readonly<Record<string, Stage<never>>> = Object.fromEntries(
  [
    defineStage({
      name: "data",
      summary: "data",
      config: z.strictObject({ count: z.int().min(1).default(10), codec: z.string().default("pca") }),
      inputs: {},
      run: nothing,
    }),
    defineStage({
      name: "train",
      summary: "train",
      config: z.strictObject({
        model: Model.prefault({}),
        schedule: Kind.default({ kind: "plain" }),
        seed: z.int().default(0),
      }),
      inputs: { data: { summary: "the data" }, extra: { summary: "more", optional: true } },
      run: nothing,
    }),
    defineStage({
      name: "sample",
      summary: "sample",
      config: z.strictObject({
        steps: z.int().min(1).default(4),
        solver: z.enum(["ddim", "dpm"]).default("dpm"),
        clip: z.boolean().default(false),
      }),
      inputs: { checkpoint: { summary: "weights" } },
      idle: ({ solver }) => (solver === "dpm" ? { clip: "with dpm" } : {}),
      run: nothing,
    }),
  ].map((stage) => [stage.name, stage as unknown as Stage<never>]),
);

export const load = async (uses: string): Promise<Stage<never>> => STAGES[uses] as Stage<never>;

/** A pipeline of them, with a stage that only one codec needs. */
export const SOURCE = {
  file: "pipelines/small/pipeline.json",
  defaults: { data: { codec: "pca" } },
  value: {
    data: {},
    more: { uses: "data", config: { count: 3 } },
    train: { needs: { data: "data", extra: { stage: "more", if: { "data.codec": "vae" } } } },
    sample: { needs: { checkpoint: "train" } },
  },
};

export function sweepOf(value: object): SweepFile {
  return checkSweep({ pipeline: "small", stage: "sample", ...value }, "sweeps/try.json", "try");
}

/** A folder with a store, in which stages run in this process and write down what ran. */
export async function bench(fail: (stage: string, point: string) => boolean = () => false) {
  const root = await mkdtemp(join(tmpdir(), "sweep-run-"));
  const store = new Store(join(root, "store"));
  const ran: string[] = [];
  const program = async (uses: string): Promise<BundleDigest> => ({ sha256: sha256(uses), externals: [] });
  const load = async (uses: string): Promise<Stage<never>> => ({
    ...(STAGES[uses] as Stage<never>),
    run: async (config: unknown, inputs: Record<string, Artifact | undefined>, { files }: never) => {
      const before = Object.values(inputs).map((input) => input?.digest);
      await (files as { write(name: string, text: string): Promise<void> }).write(
        "all",
        JSON.stringify([config, before]),
      );
      return { ok: 1 };
    },
  });
  const controller = new AbortController();
  const stream = { write: () => true } as never;
  const options: SweepRunOptions = {
    ...{ store, load, program, folder: join(root, "out"), parallel: 1, signal: controller.signal },
    defaults: SOURCE.defaults,
    execute: async (folder, name) => {
      const point = folder.split("/").at(-1) ?? "";
      ran.push(`${name} of ${point}`);
      if (fail(name, point)) throw new Error("it was to fail");
      const entry = readPipeline(folder).stages.find((one) => one.name === name);
      if (entry === undefined) throw new Error("no such stage");
      const stage = await load(entry.uses);
      const made = async (need: string) => store.artifact((await readOutput(outputFolder(folder, need))) as Made);
      const needs = Object.entries(entry.needs).map(async ([input, need]) => [input, await made(need)] as const);
      const inputs = Object.fromEntries(await Promise.all(needs)) as never;
      const code = await program(entry.uses);
      const told = { program: code, store, signal: controller.signal, compute: entry.compute, stream };
      const result = await runStage(stage, parseConfig(stage, entry.config), inputs, told);
      const { record, asked, engine, outside } = result;
      const checked = { key: record.key, entry: entryDigest(entry), program: code.sha256, asked, engine, outside };
      await putOutput(folder, name, result, checked, store);
    },
  };
  return { root, store, ran, options, controller, [Symbol.asyncDispose]: () => rm(root, { recursive: true }) };
}

export async function jobsFor(value: object, { load }: SweepRunOptions) {
  const runs = await runsOf(sweepOf(value), SOURCE, load);
  return { runs, jobs: jobsOf(runs) };
}

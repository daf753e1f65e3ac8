import { defineStage, type Stage } from "@madformer/stage";
import { z } from "zod";
import { checkSweep, type SweepFile } from "../plain/sweep-file.mjs";

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

import { z } from "zod";

const Time = z.iso.datetime();

/** How an artifact was made: everything about it that is not its content. Stands beside the manifest. */
export const StageRecord = z
  .strictObject({
    format: z.literal(1),
    stage: z.string().describe("Which stage function, such as features"),
    key: z.string().describe("Digest of program, config and input manifests"),
    program: z.strictObject({
      sha256: z.string().describe("Digest of the bundle: all code that the stage can run"),
      externals: z.array(z.string()).describe("npm packages it uses, as name@version"),
    }),
    config: z.json().describe("The complete config"),
    inputs: z.record(z.string(), z.strictObject({ stage: z.string(), digest: z.string() })),
    manifest: z.string().describe("Digest of the manifest this is about"),
    startedAt: Time.describe("Of the first attempt"),
    finishedAt: Time,
    seconds: z.number().describe("Spent computing, all attempts together"),
    attempts: z.int().positive().describe("1, or more if it was interrupted and resumed"),
    peakMemoryBytes: z.int().describe("Largest resident set of its process"),
    machine: z.strictObject({ cpu: z.string(), cores: z.int(), node: z.string(), platform: z.string() }),
    logs: z
      .record(z.string(), z.strictObject({ sha256: z.string(), bytes: z.int() }))
      .describe("What it wrote under logs/"),
  })
  .readonly();
export type StageRecord = z.infer<typeof StageRecord>;

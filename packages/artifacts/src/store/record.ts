import { z } from "zod";
import { canonicalJson, DigestText, FilePath, sha256, type Digest } from "./manifest.js";

const Time = z.iso.datetime();
const LogPath = FilePath.refine((path) => path.startsWith("logs/"), { error: "expected a path below logs/" });

/** How an artifact was made: everything about it that is not its content. Stands beside the manifest. */
export const StageRecord = z
  .strictObject({
    format: z.literal(1),
    stage: z.string().describe("Which stage function, such as features"),
    key: DigestText.describe("Digest of program, config and input manifests"),
    program: z.strictObject({
      sha256: DigestText.describe("Digest of the bundle: all code that the stage can run"),
      externals: z.array(z.string()).describe("npm packages it uses, as name@version"),
    }),
    config: z.json().describe("The complete config"),
    inputs: z.record(z.string(), z.strictObject({ stage: z.string(), digest: z.string() })),
    outside: z.string().optional().describe("Digest of what it read besides its inputs, where it read anything"),
    compute: z
      .strictObject({
        engine: z.string(),
        precision: z.string(),
        version: z.string().optional().describe("Of an engine that the program's packages do not bring"),
        threads: z.int().positive().optional(),
      })
      .optional()
      .describe("What it computed with, if it computes; threads where somebody said how many"),
    manifest: z.string().describe("Digest of the manifest this is about"),
    startedAt: Time.describe("Of the first attempt"),
    finishedAt: Time,
    seconds: z.number().describe("Spent computing, all attempts together"),
    attempts: z.int().positive().describe("1, or more if it was interrupted and resumed"),
    peakMemoryBytes: z.int().describe("Largest resident set of its process"),
    machine: z.strictObject({ cpu: z.string(), cores: z.int(), node: z.string(), platform: z.string() }),
    logs: z
      .record(LogPath, z.strictObject({ sha256: DigestText, bytes: z.int().nonnegative() }))
      .describe("What it wrote under logs/"),
    digest: z.string().describe("SHA-256 of all the other fields, as canonical JSON: finds a damaged record"),
  })
  .readonly();
export type StageRecord = z.infer<typeof StageRecord>;

/**
 * A record with its digest, its fields in the order of their names: the same object whether it was just made or read
 * back, so that nothing that is written from it depends on which.
 */
export function sealRecord(record: Omit<StageRecord, "digest">): StageRecord {
  const plain = JSON.parse(canonicalJson(record)) as Omit<StageRecord, "digest">;
  return JSON.parse(canonicalJson({ ...plain, digest: digestOf(plain) })) as StageRecord;
}

/** Whether a record says what it said when it was sealed. */
export function isSealed({ digest, ...record }: StageRecord): boolean {
  return digest === digestOf(record);
}

const digestOf = (record: Omit<StageRecord, "digest">): Digest => sha256(canonicalJson(record));

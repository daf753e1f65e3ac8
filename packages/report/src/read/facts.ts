import { type Artifact, DataError } from "@madformer/artifacts";
import { z } from "zod";

/**
 * The facts that the page speaks about, by stage. Fields that are missing are not spoken of, further ones are left for
 * the table of facts; a field of the wrong kind is an error, since the number could not be believed.
 */
const Count = z.number().nonnegative();
const Group = z.object({ name: z.string(), step: z.number().nullish(), images: Count.nullish() });

const Measure = z.object({
  label: z.string(),
  best: z.enum(["higher", "lower"]),
  isShare: z.boolean().default(false),
  meaning: z.string().nullish(),
});

/** Of scores that do not say which measures they have: there were no others then. */
const FIRST_MEASURES = {
  precision: { label: "Precision", best: "higher" as const, isShare: true },
  recall: { label: "Recall", best: "higher" as const, isShare: true },
};

export const ScoreFacts = z.object({
  metric: z.string(),
  final: z.number().nullish(),
  mean: z.number().nullish(),
  /** How to read numbers of the groups, by name. */
  measures: z.record(z.string(), Measure).default(FIRST_MEASURES),
  groups: z
    .array(
      z.looseObject({
        name: z.string(),
        step: z.number().nullish(),
        distance: z.number(),
        samples: Count.nullish(),
      }),
    )
    .min(1),
  referenceImages: Count.nullish(),
  /** How many groups the mean is over. */
  last: Count.nullish(),
  /** The score of held-out data: of a part of it against the rest, with the measures' numbers. */
  floor: z.looseObject({ distance: z.number(), samples: Count, referenceImages: Count }).nullish(),
  /** Over sets of seeds: of the distance and of measures. */
  spread: z
    .object({
      sets: Count,
      samples: Count,
      mean: z.record(z.string(), z.number()),
      std: z.record(z.string(), z.number()),
    })
    .nullish(),
  /** Scores of the newest checkpoint at several numbers of steps, fewest evaluations first. */
  nfe: z
    .array(
      z.looseObject({ distance: z.number(), steps: Count.nullish(), nfe: Count.nullish(), samples: Count.nullish() }),
    )
    .nullish(),
});
export type ScoreFacts = z.infer<typeof ScoreFacts>;
export type ScoreGroup = ScoreFacts["groups"][number];

/** A measure's number of a group, where it has one. */
export function measured(
  group: Readonly<Record<string, unknown>> | null | undefined,
  name: string,
): number | undefined {
  const value = group?.[name];
  return typeof value === "number" ? value : undefined;
}

export const SampleFacts = z.object({
  /** Checkpoints alone: not what is sampled of them again, with other steps or seeds. */
  groups: z
    .array(Group.extend({ folder: z.string(), weights: z.string().nullish(), role: z.string().nullish() }))
    .transform((groups) => groups.filter(({ role }) => !role))
    .default([]),
  solver: z.string().nullish(),
  steps: Count.nullish(),
  nfe: Count.nullish(),
  side: Count.nullish(),
});
export type SampleFacts = z.infer<typeof SampleFacts>;

export const FeatureFacts = z.object({
  network: z.string(),
  networkDigest: z.string().nullish(),
  dims: Count.nullish(),
  resize: z.string().nullish(),
});
export type FeatureFacts = z.infer<typeof FeatureFacts>;

export const ImageFacts = z.object({ images: Count.nullish(), side: Count.nullish(), skipped: Count.nullish() });
export type ImageFacts = z.infer<typeof ImageFacts>;

export const CodecFacts = z.object({ psnr: z.number().nullish() });
export type CodecFacts = z.infer<typeof CodecFacts>;

export const LatentFacts = z.object({
  side: Count.nullish(),
  channels: Count.nullish(),
  codec: z.union([z.string(), z.object({ kind: z.string() })]).nullish(),
});
export type LatentFacts = z.infer<typeof LatentFacts>;

export const ExportFacts = z.object({ step: Count.nullish(), parameters: Count.nullish() });
export type ExportFacts = z.infer<typeof ExportFacts>;

/**
 * The facts of an artifact that fit a schema.
 *
 * @throws {DataError} That names the first fact that does not.
 */
export function readFacts<T>(schema: z.ZodType<T>, artifact: Artifact): T {
  const { success, data, error } = schema.safeParse(artifact.manifest.facts);
  if (success) return data;
  const issue = error.issues[0];
  throw new DataError(
    `Cannot read the facts of ${artifact.manifest.stage}: ${JSON.stringify(issue?.path.join("."))} does not fit (${issue?.message ?? "unknown"})`,
  );
}

/** The group that the page speaks of first: the one called final, else the one of the latest step, else the last. */
export function mainGroup<G extends { readonly name: string; readonly step?: number | null | undefined }>(
  groups: readonly G[],
): G | undefined {
  const named = groups.find((group) => group.name === "final");
  return named ?? groups.toSorted((a, b) => (a.step ?? Infinity) - (b.step ?? Infinity)).at(-1);
}

import { DataError, type Artifact } from "@madformer/artifacts";
import { defineStage } from "@madformer/stage";
import { z } from "zod";
import { FeaturesArtifact } from "../score/features-artifact.js";
import { floorOf, inOrder, scoreOf, summaryOf, type GroupScore } from "../score/scores.js";
import { measuresOf, type Measure } from "../score/metrics.js";
import { spreadOf, stepsScores, stepsTable } from "../score/variants.js";
import { assertComparable, metricName, type Side } from "../score/side.js";
import { StatisticsArtifact } from "../score/statistics-artifact.js";

/** How samples are compared with the reference. */
export const ScoreConfig = z
  .strictObject({
    last: z
      .int()
      .positive()
      .default(3)
      .describe("Checkpoints that the mean is over, the last ones; fewer if there are"),
    neighbours: z
      .int()
      .positive()
      .max(100)
      .default(3)
      .describe("Precision and recall: which neighbour gives an image its radius"),
    neighbourImages: z
      .int()
      .nonnegative()
      .max(50_000)
      .default(10_000)
      .describe("Precision and recall: images of either side at most, chosen at random; 0 = leave them out"),
    nfe: z
      .boolean()
      .default(true)
      .describe("Where samples are of several numbers of steps: nfe.md, scores against network evaluations"),
    seed: z.int().nonnegative().default(0).describe("Seed of these choices and of the floor's"),
  })
  .readonly();
export type ScoreConfig = z.infer<typeof ScoreConfig>;

/**
 * Stage `score`: features of reference images and of samples in, how near they are out.
 *
 * Reads <group>/statistics.npz, <group>/features.npy of both, and what lies beside them; or a .npz file with mu and
 * sigma, as pytorch-fid keeps them Writes scores.json: the facts, with the digests of what they come from; nfe.md where
 *         samples are of several numbers of steps
 *
 * For each group of samples (a checkpoint): the Fréchet distance to the reference, and what `metrics.ts` lists. The
 * floor is the score of held-out data: of some reference images, as many as the last group has samples and half of them
 * at most, against the others: what a perfect model would get. Distances of different numbers of images are not
 * comparable. Where the newest checkpoint has further groups: their spread over sets of seeds, and their scores against
 * network evaluations.
 *
 * Of statistics alone nobody knows the network: the distance has no network's name, and what needs features is left
 * out.
 *
 * @throws {DataError} If the features are not of one network, or the reference is not one group.
 */
export const stage = defineStage({
  name: "score",
  summary:
    "Compare features of samples with those of reference images: Fréchet, kernel, Monge and spatial distance, precision, recall, class score",
  config: ScoreConfig,
  inputs: {
    reference: {
      summary: "features of the reference images, or a .npz file of pytorch-fid",
      stages: ["features"],
      file: ".npz",
    },
    samples: { summary: "features of the samples, or a .npz file of pytorch-fid", stages: ["features"], file: ".npz" },
  },
  idle: ({ neighbourImages }): Record<string, string> =>
    neighbourImages === 0 ? { neighbours: "with neighbourImages 0: precision and recall are left out" } : {},
  async run({ last, neighbours, neighbourImages: limit, nfe, seed }, inputs, { files, signal, log }) {
    const reference = await sideOf(inputs.reference, "reference");
    const samples = await sideOf(inputs.samples, "samples");
    assertComparable(reference, samples);
    for (const [name, { facts }] of Object.entries({ reference, samples }))
      if (!facts)
        log.warn(
          `which network made the statistics of the ${name} is not known: the distance is pytorch-fid's if both are of the network and resize that it uses`,
        );
    const [group, ...others] = reference.groups;
    if (group === undefined || others.length > 0)
      throw new DataError(
        `Cannot score: the reference holds ${others.length + 1} groups (${reference.groups.map(({ name }) => name).join(", ")}), expected one`,
      );

    const options = { limit, neighbours, seed, signal };
    const groups = inOrder(samples.groups.filter(({ role }) => nfe || role !== "steps"));
    const all: GroupScore[] = [];
    for (const one of groups) {
      signal.throwIfAborted();
      all.push(await scoreOf({ side: reference, group }, { side: samples, group: one }, options));
      log.progress("groups", all.length, groups.length, { distance: all.at(-1)!.distance.toFixed(3) });
    }
    const [scores, repeats, steps] = [undefined, "repeat", "steps"].map((role) =>
      all.filter((score) => score.role === role),
    ) as [GroupScore[], GroupScore[], GroupScore[]];
    const final = scores.at(-1);
    if (!final) throw new DataError("Cannot score: all groups of samples are repeats, expected one that they repeat");
    await using features = await reference.features(group);
    const floor = features && final.samples !== undefined && (await floorOf(features, final.samples, options));

    const measures = measuresOf(all.map(({ numbers }) => numbers));
    const spread = spreadOf(final, repeats, Object.keys(measures));
    const against = stepsScores(final, steps);
    const metric = metricName(reference.facts, samples.facts);
    const facts = {
      metric,
      ...summaryOf(scores, last),
      groups: scores.map(toldOf),
      ...(spread ? { spread: { ...spread, mean: { ...spread.mean }, std: { ...spread.std } } } : {}),
      ...(against.length === 0 ? {} : { nfe: against.map(toldOf) }),
      ...toldMeasures(measures),
      ...(group.images === undefined ? {} : { referenceImages: group.images }),
      ...(reference.facts && samples.facts ? { neighbours } : {}),
      floor: floor ? toldOf(floor) : null,
    };
    if (against.length > 0) {
      const table = stepsTable(metric, against, measures);
      await files.write("nfe.md", table);
      log.info(`scores against network evaluations:\n${table}`);
    }
    const lineage = {
      network: networkOf(reference, samples),
      reference: originOf(reference),
      samples: originOf(samples),
    };
    await files.write("scores.json", `${JSON.stringify({ ...facts, lineage }, null, 2)}\n`);
    return facts;
  },
});

/** A score as facts hold it: all numbers side by side, and nothing that is not known. */
function toldOf<T extends { readonly numbers: Readonly<Record<string, number>> }>({ numbers, ...score }: T) {
  const known = Object.entries(score).filter(([, value]) => value !== undefined);
  return { ...(Object.fromEntries(known) as Omit<T, "numbers">), ...numbers };
}

/** Measures as facts hold them: not at all, where there are none. */
function toldMeasures(measures: Readonly<Record<string, Measure>>) {
  const told = Object.entries(measures).map(([name, measure]) => [name, { ...measure }] as const);
  return told.length === 0 ? {} : { measures: Object.fromEntries(told) };
}

/** @throws {DataError} If the artifact is neither features nor statistics. */
async function sideOf(artifact: Artifact, input: string): Promise<Side> {
  return (await StatisticsArtifact.of(artifact, input)) ?? FeaturesArtifact.of(artifact, input);
}

/** The network of both, where both say what it is. */
function networkOf({ facts }: Side, samples: Side): object | null {
  if (!facts || !samples.facts) return null;
  const { network: name, networkDigest: digest, dims, resize } = facts;
  return { name, digest, dims, resize };
}

const originOf = ({ digest, facts }: Side): object =>
  facts ? { features: digest, ...facts.source } : { statistics: digest };

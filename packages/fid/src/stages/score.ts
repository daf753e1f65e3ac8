import { DataError } from "@madformer/artifacts";
import { defineStage } from "@madformer/stage";
import { z } from "zod";
import { assertComparable, FeaturesArtifact, metricName } from "../score/features-artifact.js";
import { floorOf, inOrder, scoreOf, summaryOf, type GroupScore } from "../score/scores.js";

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
    seed: z.int().nonnegative().default(0).describe("Seed of these choices and of the floor's"),
  })
  .readonly();
export type ScoreConfig = z.infer<typeof ScoreConfig>;

/**
 * Stage `score`: features of reference images and of samples in, how near they are out.
 *
 * Reads   <group>/statistics.npz, <group>/features.npy of both
 * Writes  scores.json: the facts, with the digests of what they come from
 *
 * For each group of samples (a checkpoint): the Fréchet distance to the reference, precision and recall. The floor is the
 * distance of some reference images, as many as the last group has samples and half of them at most, to the others: what
 * a perfect model would get. Distances of different numbers of images are not comparable.
 *
 * @throws {DataError} If the features are not of one network, or the reference is not one group.
 */
export const stage = defineStage({
  name: "score",
  summary: "Compare features of samples with those of reference images: Fréchet distance, precision, recall",
  config: ScoreConfig,
  inputs: {
    reference: { summary: "features of the reference images", stages: ["features"] },
    samples: { summary: "features of the samples", stages: ["features"] },
  },
  async run({ last, neighbours, neighbourImages: limit, seed }, inputs, { files, signal, log }) {
    const reference = FeaturesArtifact.of(inputs.reference, "reference");
    const samples = FeaturesArtifact.of(inputs.samples, "samples");
    assertComparable(reference.facts, samples.facts);
    const [group, ...others] = reference.facts.groups;
    if (group === undefined || others.length > 0)
      throw new DataError(
        `Cannot score: the reference holds ${others.length + 1} groups (${reference.facts.groups.map(({ name }) => name).join(", ")}), expected one`,
      );

    const groups = inOrder(samples.facts.groups);
    const scores: GroupScore[] = [];
    for (const one of groups) {
      signal.throwIfAborted();
      const of = { artifact: reference, group };
      scores.push(await scoreOf(of, { artifact: samples, group: one }, { limit, neighbours, seed, signal }));
      log.progress("groups", scores.length, groups.length, { distance: scores.at(-1)!.distance.toFixed(3) });
    }
    await using features = await reference.features(group);
    const floor = await floorOf(features, scores.at(-1)!.samples, seed);

    const { network, networkDigest, dims, resize } = reference.facts;
    const facts = {
      metric: metricName(reference.facts),
      ...summaryOf(scores, last),
      groups: scores.map((score) => ({ ...score })),
      referenceImages: group.images,
      neighbours,
      floor: floor ? { ...floor } : null,
    };
    const lineage = {
      network: { name: network, digest: networkDigest, dims, resize },
      reference: { features: reference.digest, ...reference.facts.source },
      samples: { features: samples.digest, ...samples.facts.source },
    };
    await files.write("scores.json", `${JSON.stringify({ ...facts, lineage }, null, 2)}\n`);
    return facts;
  },
});

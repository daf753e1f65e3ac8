import type { FeatureRows } from "../features/feature-file.js";
import { precisionRecall, type PrecisionRecall } from "../neighbours/precision-recall.js";
import type { Metric, MetricOptions } from "../score/metrics.js";
import { someFeatures } from "./some-features.js";

/** Precision and recall, and of how many images on either side. */
export interface Coverage extends PrecisionRecall {
  readonly images: number;
}

/**
 * Precision and recall of as many images of either side, chosen at random where there are more.
 *
 * @param limit Images of a side at most: time grows with its square, memory with it.
 * @returns Nothing if a side has too few.
 */
export async function coverageOf(
  reference: FeatureRows,
  samples: FeatureRows,
  { limit, neighbours, seed, signal }: MetricOptions,
): Promise<Coverage | undefined> {
  const images = Math.min(limit, reference.rows, samples.rows);
  if (images <= neighbours) return undefined;
  const of = await someFeatures(reference, images, seed, "neighbours/reference");
  const by = await someFeatures(samples, images, seed, "neighbours/samples");
  return { ...(await precisionRecall(of, by, reference.dims, { neighbours, signal })), images };
}

/** Precision and recall of a group of samples, and how many images of either side they are of. */
export const coverage: Metric = {
  measures: {
    precision: {
      ...{ label: "Precision", best: "higher", isShare: true },
      meaning:
        "Share of samples that lie near the data, by third neighbours unless told otherwise: whether they look right (Kynkäänniemi et al. 2019).",
    },
    recall: {
      ...{ label: "Recall", best: "higher", isShare: true },
      meaning: "Share of the data that lies near samples: whether they are as varied.",
    },
  },
  async of({ features: reference }, { features: samples }, options) {
    const found = reference && samples && (await coverageOf(reference, samples, options));
    return found && { precision: found.precision, recall: found.recall, neighbourImages: found.images };
  },
};

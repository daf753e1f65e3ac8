import type { FeatureFile } from "../features/feature-file.js";
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
  reference: FeatureFile,
  samples: FeatureFile,
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
    precision: { label: "Precision", best: "higher", isShare: true },
    recall: { label: "Recall", best: "higher", isShare: true },
  },
  async of(reference, samples, options) {
    const found = await coverageOf(reference, samples, options);
    return found && { precision: found.precision, recall: found.recall, neighbourImages: found.images };
  },
};

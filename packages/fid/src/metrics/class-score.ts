import type { ClassAttribute, Classifier } from "../features/classifier.js";
import type { FeatureRows } from "../features/feature-file.js";
import { BLOCK_ROWS, RowProducts } from "../linalg/row-products.js";
import type { Metric } from "../score/metrics.js";
import { NumpyRandom } from "./numpy-random.js";

export interface ClassScoreOptions {
  /** Parts of the images; each has a score. */
  readonly splits: number;
  /** Seed that shuffles the images first, as torch-fidelity does. */
  readonly seed: number;
  readonly signal?: AbortSignal;
}

export interface ClassScore {
  /** Mean over parts: 1 where all images are read alike, up to the number of classes. */
  readonly mean: number;
  /** Standard deviation over parts. */
  readonly std: number;
}

/**
 * Inception score: how sure a classifier is of each image, and how many classes there are in all; of each part
 *
 *     exp(mean over x of KL(p(y|x) | p(y))) = exp(mean over x of Σ p(y|x) log p(y|x)  -  Σ p(y) log p(y))
 *
 * where p(y) is the part's mean of p(y|x). Of a network that reads several attributes, with the mean of their
 * divergences in the exponent.
 *
 * Source: Salimans et al. 2016, arXiv:1606.03498; parts, shuffling and logits without bias are torch-fidelity's
 * `metric_isc.py`, in doubles. ADM's suite takes parts of 5,000 images, unshuffled.
 *
 * @throws {RangeError} If there are fewer images than parts.
 */
export async function classScoreOf(
  features: FeatureRows,
  classifier: Classifier,
  { splits, seed, signal }: ClassScoreOptions,
): Promise<ClassScore> {
  const { rows: N } = features;
  if (N < splits) throw new RangeError(`Cannot score ${N} images in ${splits} parts`);
  const partOf = new Uint32Array(N);
  const bounds = Array.from({ length: splits + 1 }, (_, i) => Math.floor((i * N) / splits));
  new NumpyRandom(seed).permutation(N).forEach((row, place) => {
    partOf[row] = bounds.findIndex((end, i) => i > 0 && place < end) - 1;
  });
  const parts = bounds.slice(1).map((end, i) => new Part(classifier.attributes, end - bounds[i]!));
  let row = 0;
  for await (const logits of logitsOf(features, classifier)) {
    signal?.throwIfAborted();
    parts[partOf[row++]!]!.add(logits);
  }
  const scores = parts.map((part) => part.score());
  const mean = scores.reduce((sum, score) => sum + score, 0) / splits;
  return { mean, std: Math.sqrt(scores.reduce((sum, score) => sum + (score - mean) ** 2, 0) / splits) };
}

/** Sums over the images of a part: no image is kept. */
class Part {
  /** Σ over images of p(y|x), all attributes' classes side by side. */
  private readonly shares: Float64Array;
  /** By attribute: Σ over images and classes of p(y|x) log p(y|x). */
  private readonly sums: Float64Array;

  constructor(
    private readonly attributes: readonly ClassAttribute[],
    private readonly images: number,
  ) {
    this.shares = new Float64Array(attributes.reduce((sum, { classes }) => sum + classes, 0));
    this.sums = new Float64Array(attributes.length);
  }

  /** @param logits Of one image, all attributes' side by side. */
  add(logits: Float64Array): void {
    const { exp } = Math;
    let from = 0;
    this.attributes.forEach(({ classes }, attribute) => {
      const of = logits.subarray(from, from + classes);
      const largest = of.reduce((a, b) => Math.max(a, b));
      const total = of.reduce((sum, logit) => sum + exp(logit - largest), 0);
      const logTotal = largest + Math.log(total);
      of.forEach((logit, i) => {
        const share = exp(logit - logTotal);
        this.shares[from + i]! += share;
        this.sums[attribute]! += share * (logit - logTotal);
      });
      from += classes;
    });
  }

  score(): number {
    let [from, divergence] = [0, 0];
    this.attributes.forEach(({ classes }, attribute) => {
      const all = this.shares.subarray(from, from + classes);
      const ofAll = all.reduce(
        (sum, share) => sum + (share > 0 ? (share / this.images) * Math.log(share / this.images) : 0),
        0,
      );
      divergence += this.sums[attribute]! / this.images - ofAll;
      from += classes;
    });
    return Math.exp(divergence / this.attributes.length);
  }
}

/** Logits of each image in its turn, in doubles. Good until the next is asked for. */
async function* logitsOf(features: FeatureRows, { weight, bias }: Classifier): AsyncGenerator<Float64Array> {
  const { dims } = features;
  const outputs = weight.length / dims;
  const products = new RowProducts(dims);
  const logits = new Float64Array(BLOCK_ROWS * outputs);
  for await (const part of features.parts(BLOCK_ROWS)) {
    const rows = part.length / dims;
    products.set(0, part);
    for (let first = 0; first < outputs; first += BLOCK_ROWS) {
      const some = Math.min(BLOCK_ROWS, outputs - first);
      products.set(1, weight.subarray(first * dims, (first + some) * dims));
      const block = products.multiply(0, 1);
      for (let i = 0; i < rows; i++)
        for (let j = 0; j < some; j++)
          logits[i * outputs + first + j] = block[i * BLOCK_ROWS + j]! + (bias?.[first + j] ?? 0);
    }
    for (let i = 0; i < rows; i++) yield logits.subarray(i * outputs, (i + 1) * outputs);
  }
}

/** torch-fidelity's parts and their seed. */
const SPLITS = { splits: 10, seed: 2020 } as const;

/** Inception score of the samples, and its spread over ten parts of two images or more. */
export const classScore: Metric = {
  measures: {
    isc: {
      ...{ label: "Class score (inception score)", best: "higher" },
      meaning:
        "How surely the network reads a class in each sample, and how many classes in all: 1 at worst, the number of classes at best, mean over ten parts. The data's own value is its scale. As torch-fidelity (Salimans et al. 2016); of a network of several attributes, their mean divergence.",
    },
  },
  async of(_, { features, classifier }, { signal }) {
    if (!features || !classifier || features.rows < 2 * SPLITS.splits) return undefined;
    const { mean, std } = await classScoreOf(features, classifier, { ...SPLITS, signal });
    return { isc: mean, iscStd: std };
  },
};

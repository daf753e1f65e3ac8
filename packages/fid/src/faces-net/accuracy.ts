import { DataError, notFinite } from "@madformer/artifacts";
import type { FacesData } from "./data.js";
import type { FacesNetExtractor } from "./extractor.js";
import { outputsOf, totalOutputs } from "./labels.js";

/** How well a network knows the attributes of images that it has not learned from. */
export interface Accuracy {
  /** By attribute with classes: the share of images whose class is the likeliest. */
  readonly accuracy: Readonly<Record<string, number>>;
  /** By attribute with classes: the share that the most frequent class alone would reach. */
  readonly majority: Readonly<Record<string, number>>;
  /**
   * By attribute that is a number: the share of its variance that is explained, 1 - Σ (y - target)² / Σ (target -
   * mean)².
   */
  readonly explained: Readonly<Record<string, number>>;
}

/** Images that are read from memory at a time. */
const PART = 500;

/**
 * @param images Numbers of images. Attributes that none of them has are left out.
 * @throws {DataError} If what the network says of an image is not finite.
 */
export async function accuracyOf(
  extractor: Pick<FacesNetExtractor, "run">,
  { labels, targets, pixels, sidePixels }: FacesData,
  images: Uint32Array,
): Promise<Accuracy> {
  const imageBytes = sidePixels ** 2 * 3;
  const outputs = totalOutputs(labels);
  const tallies = labels.map((label) => ({
    known: 0,
    hits: 0,
    error: 0,
    sum: 0,
    squares: 0,
    counts: new Array<number>(outputsOf(label)).fill(0),
  }));
  for (let first = 0; first < images.length; first += PART) {
    const part = images.subarray(first, first + PART);
    const bytes = new Uint8Array(part.length * imageBytes);
    part.forEach((image, row) =>
      bytes.set(pixels.subarray(image * imageBytes, (image + 1) * imageBytes), row * imageBytes),
    );
    const { outputs: said } = await extractor.run(bytes);
    part.forEach((image, row) => {
      let at = row * outputs;
      const bad = notFinite(said.subarray(at, at + outputs));
      if (bad)
        throw new DataError(`Cannot measure accuracy: what the network says of image ${image} is not finite: ${bad}`);
      labels.forEach((label, i) => {
        const target = targets[image * labels.length + i]!;
        const ys = said.subarray(at, (at += outputsOf(label)));
        const tally = tallies[i]!;
        if (Number.isNaN(target)) return;
        tally.known++;
        if (label.kind === "classes") {
          tally.counts[target] = tally.counts[target]! + 1;
          if (ys.every((y) => y <= ys[target]!)) tally.hits++;
        } else {
          tally.error += (ys[0]! - target) ** 2;
          tally.sum += target;
          tally.squares += target ** 2;
        }
      });
    });
  }
  const of = (kind: "classes" | "number", value: (tally: (typeof tallies)[number]) => number) =>
    Object.fromEntries(
      labels.flatMap((label, i) => {
        const tally = tallies[i]!;
        return label.kind === kind && tally.known > 0 ? [[label.name, rounded(value(tally))] as const] : [];
      }),
    );
  return {
    accuracy: of("classes", ({ hits, known }) => hits / known),
    majority: of("classes", ({ counts, known }) => Math.max(...counts) / known),
    explained: of("number", ({ error, sum, squares, known }) => {
      const variance = squares - sum ** 2 / known;
      return variance > 0 ? 1 - error / variance : 0;
    }),
  };
}

/** To four digits behind the point: more than some hundred images can tell. */
const rounded = (x: number): number => Math.round(x * 1e4) / 1e4;

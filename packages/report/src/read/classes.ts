import { DataError, imageGrid, readRgb, reasonOf, type Artifact, type RgbImage } from "@madformer/artifacts";
import { z } from "zod";
import { pictureOfPixels, type Picture } from "./pictures.js";
import { describeFile, readBytes } from "./text.js";

/** What the stage `sample` says of the classes of its images. */
const Labels = z.object({
  classes: z.array(z.object({ label: z.int().nonnegative(), name: z.string().optional(), images: z.int() })).min(1),
  labels: z.record(z.string(), z.int().nonnegative()),
});

/** What the stage `classes` counted. */
const Tally = z.object({ name: z.string(), images: z.int().nonnegative(), read: z.int().nonnegative() });
const Counted = z.object({
  images: z.int().nonnegative(),
  read: z.int().nonnegative(),
  attributes: z.array(Tally),
  classes: z.array(Tally.extend({ label: z.int().nonnegative() })),
});
export type Counted = z.infer<typeof Counted>;

/** A class that was asked for. */
export interface SampledClass {
  readonly name: string;
  readonly images: number;
  /** How many a network reads as what they were to be, if one looked. */
  readonly read: number | undefined;
  /** Some of its images, the first by their seeds, side by side. */
  readonly row: Picture;
}

/** The classes of some samples, and what a network read in them. */
export interface SampledClasses {
  readonly classes: readonly SampledClass[];
  /** How many classes there are. */
  readonly of: number;
  readonly counted: Counted | undefined;
}

/** Classes that are shown at most, and images of each. */
const [MAX_CLASSES, ROW_IMAGES] = [64, 8];

/**
 * Reads a row of samples for each class.
 *
 * @param counted What the stage `classes` made of the samples, if it looked at them.
 * @returns undefined if the samples are of no classes.
 * @throws {DataError} If a file is not what its stage writes.
 */
export async function readClasses(
  sample: Artifact,
  counted: Artifact | undefined,
  maxSide: number,
  signal: AbortSignal,
): Promise<SampledClasses | undefined> {
  if (!sample.files.includes("labels.json")) return undefined;
  const { classes, labels } = await readJson(sample, "labels.json", Labels);
  const tallies = counted && (await readJson(counted, "classes.json", Counted));
  const read = new Map(tallies?.classes.map((tally) => [tally.label, tally.read]));
  const seeds = new Map<number, number[]>();
  for (const [seed, label] of Object.entries(labels)) {
    const list = seeds.get(label);
    if (list) list.push(Number(seed));
    else seeds.set(label, [Number(seed)]);
  }
  const shown: SampledClass[] = [];
  for (const { label, name = `class ${label}`, images } of classes.slice(0, MAX_CLASSES)) {
    const row: RgbImage[] = [];
    for (const seed of (seeds.get(label) ?? []).toSorted((a, b) => a - b).slice(0, ROW_IMAGES)) {
      signal.throwIfAborted();
      const file = `images/${String(seed).padStart(8, "0")}.png`;
      if (sample.files.includes(file)) row.push(await readRgb(await sample.path(file)));
    }
    if (row.length === 0) continue;
    const { pixels, width, height } = imageGrid(row, ROW_IMAGES);
    const picture = await pictureOfPixels(pixels, width, height, maxSide);
    shown.push({ name, images, read: read.get(label), row: picture });
  }
  return { classes: shown, of: classes.length, counted: tallies };
}

/** Of a JSON file at most. */
const MAX_BYTES = 64 * 2 ** 20;

async function readJson<T>(artifact: Artifact, file: string, schema: z.ZodType<T>): Promise<T> {
  const bytes = await readBytes(artifact, file, MAX_BYTES);
  try {
    return schema.parse(JSON.parse(bytes.toString("utf8")));
  } catch (cause) {
    throw new DataError(`Cannot show ${describeFile(artifact, file)}: ${reasonOf(cause)}`, { cause });
  }
}

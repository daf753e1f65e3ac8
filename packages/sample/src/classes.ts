import { readFile } from "node:fs/promises";
import { DataError, reasonOf, type Artifact } from "@madformer/artifacts";
import { classesOf, labelOfSeed, type MadformerConfig } from "@madformer/model";
import { z } from "zod";

/** What classes are called, beside a checkpoint whose data set said it. */
const CLASS_NAMES = "classes.json";

/** Names of classes that are read at most, and characters of one. */
const Names = z.array(z.string().max(1024)).max(1_000_000);

/**
 * The names of a checkpoint's classes.
 *
 * @returns By number; undefined where the data set did not say them.
 * @throws {DataError} If the file is no list of names.
 */
export async function classNamesOf(checkpoint: Artifact): Promise<readonly string[] | undefined> {
  if (!checkpoint.files.includes(CLASS_NAMES)) return undefined;
  try {
    return Names.parse(JSON.parse(await readFile(await checkpoint.path(CLASS_NAMES), "utf8")));
  } catch (cause) {
    throw new DataError(`Cannot read ${CLASS_NAMES} of the checkpoint: ${reasonOf(cause)}`, { cause });
  }
}

/**
 * The classes that images are asked of, in the order of a text such as `207,360`, `0-9` or `tench`; `all` of them.
 *
 * @returns Each once; none for a model without classes.
 * @throws {DataError} If a part names no class of the model, or the model has none.
 */
export function chosenClasses(text: string, model: MadformerConfig, names: readonly string[] | undefined): number[] {
  const all = classesOf(model);
  if (text === "all") return all;
  if (all.length === 0)
    throw new DataError(`Cannot sample classes ${JSON.stringify(text)}: the model has none, expected "all"`);
  const chosen = new Set<number>();
  for (const part of text.split(",").map((word) => word.trim())) {
    const [, first, last = first] = /^(\d{1,7})(?:-(\d{1,7}))?$/.exec(part) ?? [];
    const named = names?.indexOf(part) ?? -1;
    const [from, to] = first === undefined ? [named, named] : [Number(first), Number(last)];
    if (from < 0 || to >= all.length || from > to) {
      const known = names === undefined ? "" : `, or names such as ${JSON.stringify(names[0])}`;
      throw new DataError(
        `Cannot sample class ${JSON.stringify(part)}: expected numbers from 0 to ${all.length - 1}, such as 0 or 0-9${known}`,
      );
    }
    for (let label = from; label <= to; label++) chosen.add(label);
  }
  return [...chosen];
}

/** What the samples of a model with classes are of: `labels.json`. */
export interface SampleLabels {
  /** The classes that were asked for. */
  readonly classes: readonly { readonly label: number; readonly name?: string; readonly images: number }[];
  /** The class of each image, by its seed. */
  readonly labels: Readonly<Record<string, number>>;
}

/** Which class each seed's image is of, and how many images each class has. */
export function sampleLabels(
  classes: readonly number[],
  seeds: readonly number[],
  names: readonly string[] | undefined,
): SampleLabels {
  const labels = seeds.map((seed) => labelOfSeed(classes, seed));
  const counts = new Map<number, number>(classes.map((label) => [label, 0]));
  for (const label of labels) counts.set(label, (counts.get(label) ?? 0) + 1);
  return {
    classes: classes.map((label) => {
      const name = names?.[label];
      return { label, ...(name === undefined ? {} : { name }), images: counts.get(label) ?? 0 };
    }),
    labels: Object.fromEntries(seeds.map((seed, i) => [String(seed), labels[i] as number])),
  };
}

/**
 * The images of an overview: of several classes a row for each, if there are two images or more of each of them; else
 * about as many rows as columns.
 *
 * @param most Images at most.
 * @returns The seeds, row by row, and how many a row has.
 */
export function overviewOf(
  seeds: readonly number[],
  classes: readonly number[],
  most: number,
): { readonly seeds: readonly number[]; readonly columns: number } {
  const square = seeds.slice(0, most);
  if (classes.length < 2 || classes.length > most)
    return { seeds: square, columns: Math.ceil(Math.sqrt(square.length)) };
  const each = Math.floor(most / classes.length);
  const rows = classes.map((label) => seeds.filter((seed) => labelOfSeed(classes, seed) === label).slice(0, each));
  const columns = Math.max(...rows.map((row) => row.length));
  if (columns < 2 || rows.some((row) => row.length < columns))
    return { seeds: square, columns: Math.ceil(Math.sqrt(square.length)) };
  return { seeds: rows.flat(), columns };
}

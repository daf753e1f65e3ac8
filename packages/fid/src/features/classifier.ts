import { DataError, notFinite, openNpz, writeNpz } from "@madformer/artifacts";
import { z } from "zod";
import type { FacesNet } from "../faces-net/file.js";
import { outputsOf } from "../faces-net/labels.js";

/** What a network's features say of classes: logits by attribute. */
export interface Classifier {
  /** Attributes whose classes it tells apart, in the order of the rows. */
  readonly attributes: readonly ClassAttribute[];
  /** (classes of all attributes, dims), row-major. */
  readonly weight: Float32Array;
  /** (classes of all attributes); 0 where there is none. */
  readonly bias?: Float32Array | undefined;
}

/** What the stage `features` says of an attribute. */
export const ClassAttribute = z.object({ name: z.string().max(64), classes: z.int().min(2).max(100_000) });
export type ClassAttribute = z.infer<typeof ClassAttribute>;

const outputsOfAll = (attributes: readonly ClassAttribute[]): number =>
  attributes.reduce((sum, { classes }) => sum + classes, 0);

/** The attributes of a faces-net that have classes, with what its head says of them; nothing if all are numbers. */
export function classifierOfFaces({ description: { labels, dims }, weights }: FacesNet): Classifier | undefined {
  const attributes: ClassAttribute[] = [];
  const columns: number[] = [];
  let column = 0;
  for (const label of labels) {
    const outputs = outputsOf(label);
    if (label.kind === "classes") {
      attributes.push({ name: label.name, classes: label.values.length });
      for (let i = 0; i < outputs; i++) columns.push(column + i);
    }
    column += outputs;
  }
  if (attributes.length === 0) return undefined;
  const [head, bias] = [weights["head.weight"]!, weights["head.bias"]!];
  return {
    attributes,
    weight: Float32Array.from(
      { length: columns.length * dims },
      (_, at) => head[(at % dims) * column + columns[Math.floor(at / dims)]!]!,
    ),
    bias: Float32Array.from(columns, (at) => bias[at]!),
  };
}

/** Writes a classifier as `.npz`: weight (classes, dims), bias (classes) if there is one. */
export async function writeClassifier(path: string, { attributes, weight, bias }: Classifier): Promise<void> {
  const outputs = outputsOfAll(attributes);
  await writeNpz(path, {
    weight: { shape: [outputs, weight.length / outputs], data: weight },
    ...(bias ? { bias: { shape: [outputs], data: bias } } : {}),
  });
}

/**
 * Reads what `writeClassifier` wrote.
 *
 * @param attributes As the facts beside it say.
 * @throws {DataError} If its arrays are not of those sizes, or not finite. {FormatError} If the file is damaged.
 */
export async function readClassifier(
  path: string,
  dims: number,
  attributes: readonly ClassAttribute[],
): Promise<Classifier> {
  await using file = await openNpz(path);
  const outputs = outputsOfAll(attributes);
  const array = async (name: string, expected: readonly number[]): Promise<Float32Array> => {
    const found = file.names.includes(name) ? file.array(name) : undefined;
    if (found?.dtype !== "float32" || found.shape.join() !== expected.join())
      throw new DataError(
        `Cannot read a classifier from ${JSON.stringify(path)}: ${name} is ${found ? `${found.dtype} (${found.shape.join(", ")})` : "missing"}, expected float32 (${expected.join(", ")})`,
      );
    const values = (await file.read(name)).data as Float32Array;
    const bad = notFinite(values);
    if (bad)
      throw new DataError(`Cannot read a classifier from ${JSON.stringify(path)}: ${name} is not finite: ${bad}`);
    return values;
  };
  const weight = await array("weight", [outputs, dims]);
  return { attributes, weight, ...(file.names.includes("bias") ? { bias: await array("bias", [outputs]) } : {}) };
}

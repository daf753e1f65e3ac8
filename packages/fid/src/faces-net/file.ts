import { readFile } from "node:fs/promises";
import { canonicalJson, DataError, openSafetensors, sha256, writeSafetensors, writeText } from "@madformer/artifacts";
import { z } from "zod";
import { Label, totalOutputs } from "./labels.js";
import { facesNetShapes, type FacesNetSize } from "./network.js";

/** What `net.json` says: all that is needed to use the weights beside it. */
export const FacesNetDescription = z
  .strictObject({
    format: z.literal(1),
    kind: z.literal("faces-net"),
    sidePixels: z.int().min(32).max(128).multipleOf(16).describe("Width and height of its images in pixels"),
    dims: z.int().min(64).max(128).multipleOf(4).describe("Channels of a feature"),
    labels: z.array(Label).min(1).max(64).describe("What its head says, in this order"),
  })
  .readonly();
export type FacesNetDescription = z.infer<typeof FacesNetDescription>;

/** A finished network. */
export interface FacesNet {
  readonly description: FacesNetDescription;
  /** By the names of `facesNetShapes`. */
  readonly weights: Readonly<Record<string, Float32Array>>;
}

/** Sizes of a network's tensors. */
export function sizeOf({ sidePixels, dims, labels }: FacesNetDescription): FacesNetSize {
  return { sidePixels, dims, outputs: totalOutputs(labels) };
}

/** Writes `net.json` and `net.safetensors`. */
export async function writeFacesNet(paths: FacesNetPaths, { description, weights }: FacesNet): Promise<void> {
  const tensors = Object.entries(facesNetShapes(sizeOf(description))).map(
    ([name, shape]) => [name, { shape, data: weights[name]! }] as const,
  );
  await writeSafetensors(paths.weights, Object.fromEntries(tensors));
  await writeText(paths.description, `${JSON.stringify(description, null, 2)}\n`);
}

export interface FacesNetPaths {
  /** `net.json` */
  readonly description: string;
  /** `net.safetensors` */
  readonly weights: string;
}

/** `net.json` holds 64 attributes of 64 names at most. */
const MAX_DESCRIPTION_BYTES = 1 << 20;

/**
 * Reads a network.
 *
 * @throws {DataError} If `net.json` is not what is written here. {FormatError} If the weights are damaged or not
 *   finite.
 */
export async function readFacesNet(paths: FacesNetPaths): Promise<FacesNet> {
  const text = await readFile(paths.description);
  const where = JSON.stringify(paths.description);
  if (text.length > MAX_DESCRIPTION_BYTES)
    throw new DataError(
      `Cannot read ${where}: it holds ${text.length} bytes, expected ${MAX_DESCRIPTION_BYTES} at most`,
    );
  let json: unknown;
  try {
    json = JSON.parse(text.toString("utf8"));
  } catch (cause) {
    throw new DataError(`Cannot read ${where}: it is no JSON`, { cause });
  }
  const parsed = FacesNetDescription.safeParse(json);
  if (!parsed.success)
    throw new DataError(
      `Cannot read ${where}: it does not describe a network: ${z.prettifyError(parsed.error).replaceAll("\n", " ")}`,
    );
  const weights: Record<string, Float32Array> = {};
  await using file = await openSafetensors(paths.weights);
  for (const [name, shape] of Object.entries(facesNetShapes(sizeOf(parsed.data)))) {
    const found = file.tensor(name).shape;
    if (canonicalJson(found) !== canonicalJson(shape))
      throw new DataError(
        `Cannot read ${JSON.stringify(paths.weights)}: "${name}" has shape (${found.join(", ")}), expected (${shape.join(", ")})`,
      );
    weights[name] = await file.readWeights(name);
  }
  return { description: parsed.data, weights };
}

/** Digest of all that decides a network's features. */
export function digestOf({ description, weights }: FacesNet): string {
  const digests = Object.entries(weights).map(
    ([name, data]) => [name, sha256(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))] as const,
  );
  return sha256(canonicalJson({ description, weights: Object.fromEntries(digests) }));
}

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { DataError, readAllWeights, writeSafetensors, writeText, type Artifact } from "@madformer/artifacts";
import {
  codecConfig,
  codecSpecs,
  fromStateDict,
  toStateDict,
  type CodecConfig,
  type CodecWeights,
  type FileTensor,
} from "@madformer/model";
import type { StageContext, StageFiles } from "@madformer/stage";

/** The files that make a codec, in every artifact that has one. */
export const CODEC_FILES = ["codec.safetensors", "codec.json"] as const;

/** A codec with its weights, laid out as programs take them. */
export interface Codec {
  readonly codec: CodecConfig;
  readonly weights: CodecWeights;
}

/** Whether a stage has finished both files of a codec. */
export function hasCodec(files: StageFiles): boolean {
  return CODEC_FILES.every((file) => files.has(file));
}

/** Makes a codec's files a stage's own. */
export async function finishCodec({ out, files }: Pick<StageContext, "out" | "files">, codec: Codec): Promise<void> {
  await writeCodec(join(out, "tmp"), codec);
  for (const file of CODEC_FILES) await files.add(join(out, "tmp", file), file);
}

/** Writes a codec's files, each whole or not at all. */
export async function writeCodec(folder: string, { codec, weights }: Codec): Promise<void> {
  const specs = codecSpecs(codec);
  await writeSafetensors(join(folder, "codec.safetensors"), toStateDict(specs, weights), { format: "pt" });
  await writeText(join(folder, "codec.json"), `${JSON.stringify(codec, null, 2)}\n`);
}

/**
 * Reads a codec.
 *
 * @param path Of a file by its name: of an artifact, or in a folder.
 * @throws {DataError} If a file is missing or is no codec's.
 */
export async function readCodec(path: (file: string) => Promise<string> | string): Promise<Codec> {
  const json = await path("codec.json");
  let codec: CodecConfig;
  try {
    codec = codecConfig(JSON.parse(await readFile(json, "utf8")));
  } catch (cause) {
    throw new DataError(`Cannot use ${JSON.stringify(json)}: ${(cause as Error).message}`, { cause });
  }
  const file = await path("codec.safetensors");
  return { codec, weights: await readWeights(file, codec) };
}

/**
 * Reads a codec's weights from a file in the layout of PyTorch.
 *
 * @param rename What becomes of the tensors' names and shapes before they are compared with the codec's.
 * @throws {DataError} If they are not the codec's. {FormatError} If the file is damaged, or a weight is not finite.
 */
export async function readWeights(
  path: string,
  codec: CodecConfig,
  rename = (tensors: Record<string, FileTensor>): Record<string, FileTensor> => tensors,
): Promise<CodecWeights> {
  const tensors = await readAllWeights(path);
  try {
    return fromStateDict(codecSpecs(codec), rename(tensors));
  } catch (cause) {
    throw new DataError(`Cannot use ${JSON.stringify(path)}: ${(cause as Error).message}`, { cause });
  }
}

/**
 * Copies a codec's files from an artifact.
 *
 * @param kind What it must be. Default: anything.
 * @throws As `readCodec`: nothing is copied that cannot be used. {DataError} If it is of another kind.
 */
export async function copyCodec(from: Artifact, files: StageFiles, kind?: CodecConfig["kind"]): Promise<void> {
  if (!from.files.includes("codec.json") && from.files.includes("config.json"))
    throw new DataError(
      `Cannot use a folder with ${from.files.slice(0, 3).join(", ")} as a codec, expected ${CODEC_FILES.join(" and ")}: of what diffusers ` +
        'wrote, the stage vae makes them (source "import")',
    );
  const { codec } = await readCodec((name) => from.path(name));
  if (kind !== undefined && codec.kind !== kind)
    throw new DataError(`Cannot use a codec of the kind "${codec.kind}", expected "${kind}"`);
  for (const file of CODEC_FILES) await files.write(file, await readFile(await from.path(file)));
}

import { readdir, readFile, stat } from "node:fs/promises";
import { join, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { DataError, digestFile, download, reasonOf } from "@madformer/artifacts";
import {
  autoencoderFromDiffusers,
  withPresentKeys,
  type CodecWeights,
  type PublishedAutoencoder,
} from "@madformer/model";
import type { Outside, StageContext } from "@madformer/stage";
import { readWeights } from "./files.js";
import { unscaled } from "./measure.js";

/** What is imported. */
export interface AutoencoderSource {
  /** A folder, or the URL of one. */
  readonly from: string;
  /** Name of the weights' file in it. */
  readonly weights: string;
  /** SHA-256 of the weights' file; there for a URL. */
  readonly sha256?: string | undefined;
}

/** The files that are imported, if they are on this machine. */
export function filesHere({ from, weights }: AutoencoderSource): Outside[] {
  return ["config.json", weights].flatMap((name): Outside[] => {
    try {
      return [{ path: isUrl(from) ? fileURLToPath(urlOf(from, name)) : join(from, name), by: "content" }];
    } catch {
      return []; // a URL of another machine, or none: the import says so
    }
  });
}

/** The largest config.json that is read. */
const MAX_CONFIG_BYTES = 1 << 20;
/** Of a folder that lacks a file, how many are looked at. */
const MAX_NAMES = 100;

/**
 * Imports an autoencoder that diffusers saved: `config.json` and weights, with today's or older names.
 *
 * @param tmp Where downloads go; what is there already is used.
 * @throws {DataError} If a file is missing, its SHA-256 is another one, or it is no such autoencoder.
 */
export async function importAutoencoder(
  { from, weights, sha256 }: AutoencoderSource,
  tmp: string,
  context: StageContext,
): Promise<PublishedAutoencoder & { readonly weights: CodecWeights }> {
  const json = await fileOf({ from, name: "config.json", as: "config.json", maxBytes: MAX_CONFIG_BYTES }, tmp, context);
  const published = await readConfig(json);
  const path = await fileOf({ from, name: weights, as: "weights", sha256 }, tmp, context);
  return { ...published, weights: await readWeights(path, unscaled(published.config), withPresentKeys) };
}

async function readConfig(path: string): Promise<PublishedAutoencoder> {
  try {
    const { size } = await stat(path);
    if (size > MAX_CONFIG_BYTES) throw new RangeError(`it holds ${size} bytes, expected ${MAX_CONFIG_BYTES} at most`);
    return autoencoderFromDiffusers(JSON.parse(await readFile(path, "utf8")));
  } catch (cause) {
    throw new DataError(`Cannot import ${JSON.stringify(path)}: ${reasonOf(cause)}`, { cause });
  }
}

export const isUrl = (from: string): boolean => /^[a-z]+:\/\//i.test(from);

const urlOf = (from: string, name: string): string => `${from.replace(/\/+$/, "")}/${name}`;

interface FileToImport {
  readonly from: string;
  readonly name: string;
  /** Its name here, if it is downloaded. */
  readonly as: string;
  readonly sha256?: string | undefined;
  readonly maxBytes?: number;
}

/** A local path of a file; it is downloaded if it is elsewhere. */
async function fileOf(
  { from, name, as, sha256, maxBytes }: FileToImport,
  tmp: string,
  { signal, log }: StageContext,
): Promise<string> {
  if (isUrl(from)) {
    const path = join(tmp, as);
    const known = { ...(sha256 === undefined ? {} : { sha256 }), ...(maxBytes === undefined ? {} : { maxBytes }) };
    const onProgress = (done: number, total = done): void => log.progress("bytes", done, total);
    const onWait = (message: string): void => log.info(message);
    await download(urlOf(from, name), path, { signal, onProgress, onWait, ...known });
    return path;
  }
  const path = join(from, name);
  await requireFile(from, name);
  if (sha256 !== undefined) {
    const { sha256: found } = await digestFile(path);
    if (found !== sha256)
      throw new DataError(`Cannot import ${JSON.stringify(path)}: its SHA-256 is ${found}, expected ${sha256}`);
  }
  return path;
}

/** @throws {DataError} If a folder has no such file: names those that may have been meant, also in folders in it. */
async function requireFile(folder: string, name: string): Promise<void> {
  const isThere = await stat(join(folder, name)).then(
    (status) => status.isFile(),
    () => false,
  );
  if (isThere) return;
  const names = await readdir(folder).catch((cause: NodeJS.ErrnoException) => {
    const [, repo] = /^(?:hf:)?([\w-][\w.-]*\/[\w-][\w.-]*)$/.exec(folder) ?? [];
    const hint = repo === undefined ? "" : `; on Hugging Face it is "https://huggingface.co/${repo}/resolve/main"`;
    const reason =
      cause.code === "ENOTDIR" ? "it is a file, expected the folder of it and of config.json" : reasonOf(cause) + hint;
    throw new DataError(`Cannot import ${JSON.stringify(folder)}: ${reason}`, { cause });
  });
  const below = await Promise.all(
    names.slice(0, MAX_NAMES).map((other) => readdir(join(folder, other)).catch((): string[] => [])),
  );
  const isAlike = (other: string): boolean =>
    name.endsWith(".json") ? other === name : /\.(safetensors|bin)$/.test(other);
  const alike = [
    ...names.filter(isAlike),
    ...below.flatMap((inside, i) => inside.filter(isAlike).map((other) => `${names[i]!}${sep}${other}`)),
  ].sort();
  throw new DataError(
    `Cannot import ${JSON.stringify(folder)}: it has no ${JSON.stringify(name)}${alike.length === 0 ? "" : `, but ${alike.slice(0, 5).join(", ")}`}`,
  );
}

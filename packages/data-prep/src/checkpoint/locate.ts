import { readdir, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { DataError, digestFile, download, readManifest, reasonOf } from "@madformer/artifacts";
import type { StageContext } from "@madformer/stage";
import { globPattern } from "../dataset/glob.js";
import { hubFiles } from "../dataset/hub.js";
import { s3Files } from "../dataset/s3.js";
import type { TarSource } from "../dataset/tars.js";

/** Where a checkpoint is. */
export interface CheckpointSource {
  /** A path, `https://...`, `s3://bucket/key`, or `hf:owner/name[@revision]`. */
  readonly source: string;
  /** Which file, where the source holds several: a pattern. */
  readonly file: string;
  readonly sha256?: string | undefined;
  /** Whether a bucket is read without credentials. */
  readonly unsigned: boolean;
}

/** A checkpoint on this machine. */
export interface Located {
  readonly path: string;
  /** For people: where it was. */
  readonly name: string;
  /**
   * Of its bytes; counted meanwhile, unless a certain one is expected. Wait for it before anything that was read
   * counts.
   */
  readonly sha256: Promise<string>;
}

const HUB = /^hf:([\w-][\w.-]*\/[\w-][\w.-]*)(?:@(.+))?$/;

/** Whether a source is on this machine. */
export const isHere = (source: string): boolean => !/^(?:hf:|[a-z][a-z0-9+.-]+:\/\/)/i.test(source);

/**
 * Brings a checkpoint to this machine. What has come of a download is gone on with; one that is here stays where it is.
 *
 * @throws {DataError} If it cannot be had, or its SHA-256 is another one.
 */
export async function locate(from: CheckpointSource, tmp: string, context: StageContext): Promise<Located> {
  const { source, sha256: expected } = from;
  const here = isHere(source) ? await fileHere(from) : undefined;
  const { path, name } = here ? { path: here, name: here } : await fetched(from, join(tmp, "checkpoint"), context);
  const sha256 = digestFile(path).then((digest) => digest.sha256);
  sha256.catch(() => undefined); // whoever waits for it is told
  if (expected !== undefined) {
    context.log.info(`checking ${name}`);
    const found = await sha256;
    if (found !== expected)
      throw new DataError(`Cannot import ${JSON.stringify(name)}: its SHA-256 is ${found}, expected ${expected}`);
  }
  return { path, name, sha256 };
}

async function fileHere({ source, file }: CheckpointSource): Promise<string> {
  let names: string[];
  let made: string | undefined;
  try {
    if ((await stat(source)).isFile()) return whole(source, source);
    names = await readdir(source);
    made = (await readManifest(source).catch(() => undefined))?.stage; // somebody else's says nothing
  } catch (cause) {
    const hint = /^[\w-][\w.-]*\/[\w-][\w.-]*$/.test(source) ? `; on Hugging Face it is "hf:${source}"` : "";
    throw new DataError(`Cannot import ${JSON.stringify(source)}: ${reasonOf(cause)}${hint}`, { cause });
  }
  if (made !== undefined)
    throw new DataError(
      `Cannot import ${JSON.stringify(source)}: it is what stage "${made}" made, expected somebody else's checkpoint; sample, and train with ` +
        "--from, take an export or a training run as it is",
    );
  const fits = globPattern(file);
  return join(
    source,
    newest(
      names.filter((name) => fits.test(name)),
      names,
      source,
    ),
  );
}

async function fetched(
  { source, file, sha256, unsigned }: CheckpointSource,
  path: string,
  { signal, log }: StageContext,
): Promise<{ readonly path: string; readonly name: string }> {
  const onWait = (message: string): void => log.info(message);
  const bytes = (done: number, total: number): void => log.progress("bytes", done, total);
  const fetch = async (files: readonly TarSource[]): Promise<{ path: string; name: string }> => {
    const name = newest(
      files.map(({ name }) => name),
      files.map(({ name }) => name),
      source,
    );
    if (files.length > 1) log.info(`taking ${name}, of ${files.length} files; name another one with --file`);
    const { sizeBytes = 100, fetch } = files.find((found) => found.name === name)!;
    await fetch(path, (share) => bytes(Math.round(share * sizeBytes), sizeBytes));
    return { path, name: source.endsWith(name) ? source : `${source.replace(/\/+$/, "")}/${name}` };
  };
  const [, repo, revision = "main"] = HUB.exec(source) ?? [];
  if (repo !== undefined)
    return await fetch(await hubFiles({ of: "models", repo, revision, pattern: file, onWait }, signal));
  if (/^hf:/i.test(source))
    throw new DataError(`Cannot import ${JSON.stringify(source)}: expected hf:owner/name or hf:owner/name@revision`);
  if (/^s3:/i.test(source)) {
    const fits = globPattern(file);
    await using found = await s3Files(source, (path) => fits.test(path), { signal, log, unsigned });
    return await fetch(found.files);
  }
  const page = /^(https?:\/\/[^?#]*)\/blob\/([^?#]*)/i.exec(source);
  if (page && URL.canParse(source) && /^(?:www\.)?huggingface\.co$|^hf\.co$/i.test(new URL(source).hostname))
    throw new DataError(
      `Cannot import ${JSON.stringify(source)}: it is the page of a file, expected ${page[1]}/resolve/${page[2]}, or hf:owner/name with --file`,
    );
  const known = sha256 === undefined ? {} : { sha256 };
  await download(source, path, { signal, onWait, ...known, onProgress: (done, total = done) => bytes(done, total) });
  return { path, name: source.replace(/[?#].*$/s, "") };
}

/** The file of the highest number, as `0010000.pt` has; else the last by name. */
function newest(fitting: readonly string[], all: readonly string[], source: string): string {
  const number = (name: string): number => Number(/(\d{1,15})\D*$/.exec(basename(name))?.[1] ?? -1);
  const sorted = [...fitting].sort((a, b) => number(a) - number(b) || (a < b ? -1 : 1));
  const last = sorted.at(-1);
  if (last !== undefined) return whole(last, source);
  throw new DataError(
    `Cannot import ${JSON.stringify(source)}: none of its ${all.length} files is a checkpoint${all.length > 0 ? `, such as ${JSON.stringify(all[0])}` : ""}`,
  );
}

/** @throws {DataError} If a file is one of several that make a model together, or says which they are. */
function whole(name: string, source: string): string {
  const [, parts] = /-\d{5}-of-(\d{5})\.[a-z]+$/i.exec(name) ?? [];
  if ((parts === undefined || Number(parts) < 2) && !/\.index\.json$/i.test(name)) return name;
  const what = parts === undefined ? "lists the parts of a model" : `is one of ${Number(parts)} parts of a model`;
  throw new DataError(
    `Cannot import ${JSON.stringify(source)}: ${JSON.stringify(basename(name))} ${what}, expected one file; in Python, load_file ` +
      "of safetensors.torch reads each part, and save_file writes the dicts of all as one",
  );
}

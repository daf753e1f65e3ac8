import { constants } from "node:fs";
import { copyFile, stat } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { DataError, reasonOf } from "@madformer/artifacts";
import type { StageLog } from "@madformer/stage";
import { Oddities, type OnOdd } from "../webdataset/oddities.js";
import { filesBelow } from "./folder.js";
import { globPattern, isGlob, missingFrom, splitGlob } from "./glob.js";
import type { TarSource } from "./tars.js";

/** A tar on this machine. */
export interface LocalTar {
  readonly path: string;
  readonly sizeBytes: number;
  readonly modifiedMs: number;
}

/**
 * The tars that paths and patterns name, each once, those of a pattern sorted. Links are followed.
 *
 * @throws {DataError} If a path is no file, or a pattern fits none, or not each that it counts.
 */
export async function findTars(patterns: readonly string[], log: Pick<StageLog, "warn">): Promise<LocalTar[]> {
  const found = new Map<string, LocalTar>();
  for (const pattern of patterns) {
    if (/^(?:pipe:|[a-z][a-z\d+.-]*:\/\/)/i.test(pattern))
      throw new DataError(
        `Cannot read ${JSON.stringify(pattern)}: it is no path on this machine; the sources huggingface and s3 take tars from elsewhere`,
      );
    for (const tar of isGlob(pattern) ? await match(pattern, log) : [await tarAt(pattern)]) found.set(tar.path, tar);
  }
  return [...found.values()];
}

async function match(glob: string, log: Pick<StageLog, "warn">): Promise<LocalTar[]> {
  const { folder, pattern } = splitGlob(glob);
  const fits = globPattern(pattern);
  const odd = new Oddities();
  const onOdd: OnOdd = (verb, what, path) => void (fits.test(path) && odd.add(verb, what, path));
  const files = (await filesBelow(folder, { followLinks: true, onOdd })).files.filter(({ path }) => fits.test(path));
  for (const sentence of odd.sentences(folder)) log.warn(sentence);
  if (files.length === 0) throw new DataError(`Cannot read ${JSON.stringify(glob)}: no file fits it`);
  const missing = missingFrom(
    files.map(({ path }) => path),
    pattern,
  );
  if (missing !== undefined)
    throw new DataError(`Cannot read ${JSON.stringify(glob)}: there is no ${JSON.stringify(join(folder, missing))}`);
  return files.map(({ fullPath, sizeBytes, modifiedMs }) => ({ path: fullPath, sizeBytes, modifiedMs }));
}

async function tarAt(path: string): Promise<LocalTar> {
  const status = await stat(path).catch((cause: unknown) => {
    throw new DataError(`Cannot read ${JSON.stringify(path)}: ${reasonOf(cause)}`, { cause });
  });
  if (status.isDirectory())
    throw new DataError(
      `Cannot read ${JSON.stringify(path)}: it is a folder, expected a tar, or a pattern such as ${JSON.stringify(join(path, "**/*.tar"))}`,
    );
  if (!status.isFile()) throw new DataError(`Cannot read ${JSON.stringify(path)}: it is no file`);
  return { path: resolve(path), sizeBytes: status.size, modifiedMs: status.mtimeMs };
}

/** As a source of `takeTars`. A copy that shares its blocks with the original, where the file system can do that. */
export function localTarSource({ path, sizeBytes, modifiedMs }: LocalTar): TarSource {
  return {
    name: basename(path),
    id: JSON.stringify([path, sizeBytes, modifiedMs]),
    fetch: async (to) => {
      await copyFile(path, to, constants.COPYFILE_FICLONE).catch((cause: unknown) => {
        throw new DataError(`Cannot copy ${JSON.stringify(path)}: ${reasonOf(cause)}`, { cause });
      });
    },
  };
}

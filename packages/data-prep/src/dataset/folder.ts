import type { Stats } from "node:fs";
import { lstat, readdir, readFile, realpath, stat } from "node:fs/promises";
import { isAbsolute, join, relative, resolve, sep } from "node:path";
import { DataError, reasonOf } from "@madformer/artifacts";
import type { StageLog } from "@madformer/stage";
import { Oddities, type OnOdd } from "../webdataset/oddities.js";
import { imageExtension, kindsOf, type ImageFile } from "./pack.js";

/** A file below a folder. */
export interface FolderFile {
  /** Relative to the folder, with forward slashes. */
  readonly path: string;
  readonly fullPath: string;
  readonly sizeBytes: number;
  readonly modifiedMs: number;
}

export interface FilesBelow {
  /** Sorted by path. */
  readonly files: readonly FolderFile[];
  /** Names of the folders in the folder, empty ones and links to folders included. */
  readonly folders: readonly string[];
}

/** Folders in folders. A data set has a few. */
const MAX_DEPTH = 64;
/** Links can lead to the same folders in many ways. */
const MAX_FOLDERS = 1_000_000;
/** What other machines leave in folders of images. */
const NOT_OURS = ["__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found"];

/**
 * All files below a folder. Names that start with a dot are passed over; so is, and `onOdd` is told, what is no file
 * and no folder, what a link leads to that does not exist, and what has a name that is no UTF-8. A link to a file
 * inside of the folder is that file.
 *
 * @param followLinks Whether links to folders, and out of the folder, are followed too, as PyTorch's data sets do.
 * @throws {DataError} If there is no such folder, or it cannot be read, or a link leads out of it and is not to be
 *   followed.
 */
export async function filesBelow(
  folder: string,
  { followLinks, onOdd }: { readonly followLinks: boolean; readonly onOdd: OnOdd },
): Promise<FilesBelow> {
  const root = await attempt(folder, () => realpath(resolve(folder)));
  const [files, folders]: [FolderFile[], string[]] = [[], []];
  let count = 0;
  const walk = async (below: string, here: string, above: readonly string[]): Promise<void> => {
    if (above.length > MAX_DEPTH) throw problem(here, `folders lie more than ${MAX_DEPTH} deep`);
    if (++count > MAX_FOLDERS) throw problem(root, `it has more than ${MAX_FOLDERS} folders`);
    const inner = [...above, here];
    for (const name of (await attempt(here, () => readdir(here))).sort()) {
      if (name.startsWith(".")) continue;
      const path = below === "" ? name : `${below}/${name}`;
      let fullPath = join(here, name);
      let status = await statusOf(fullPath);
      if (status === undefined) {
        // A name that is no UTF-8 reads as one that does not exist.
        const why = name.includes("\ufffd") ? "whose names are no UTF-8" : "that are gone meanwhile";
        onOdd("passed over", why, path);
        continue;
      }
      if (status.isSymbolicLink()) {
        const link = fullPath;
        const target = await targetOf(link);
        if (target === undefined) {
          onOdd("passed over", "that are links to nothing", path);
          continue;
        }
        if (!followLinks && isOutside(root, target))
          throw problem(
            link,
            `it is a link to ${JSON.stringify(target)}, outside of ${JSON.stringify(root)}; with followLinks it is followed`,
          );
        status = await attempt(target, () => stat(target));
        if (status.isDirectory()) {
          if (below === "") folders.push(name);
          if (!followLinks) {
            onOdd("passed over", "that are links to folders, which are followed with followLinks", path);
            continue;
          }
          if (inner.includes(target)) {
            onOdd("passed over", "that are links to a folder above them", path);
            continue;
          }
          fullPath = target;
        }
      } else if (status.isDirectory() && NOT_OURS.includes(name)) {
        onOdd("passed over", "that are folders of a system, not of images", path);
        continue;
      } else if (status.isDirectory() && below === "") folders.push(name);
      if (status.isDirectory()) await walk(path, fullPath, inner);
      else if (!status.isFile()) onOdd("passed over", "that are neither files nor folders", path);
      else files.push({ path, fullPath, sizeBytes: status.size, modifiedMs: status.mtimeMs });
    }
  };
  await walk("", root, []);
  return { files: files.sort((a, b) => (a.path < b.path ? -1 : 1)), folders };
}

/** Status of what lies here, a link itself included; undefined if nothing does. */
async function statusOf(path: string): Promise<Stats | undefined> {
  return attempt(path, () => ifThere(lstat(path)));
}

/** Where a link leads; undefined if nothing is there. */
async function targetOf(link: string): Promise<string | undefined> {
  return attempt(link, () => ifThere(realpath(link)));
}

async function ifThere<T>(found: Promise<T>): Promise<T | undefined> {
  try {
    return await found;
  } catch (error) {
    // A link to itself has no end; one through a file has no such folder.
    if (["ENOENT", "ELOOP", "ENOTDIR"].includes((error as NodeJS.ErrnoException).code ?? "")) return undefined;
    throw error;
  }
}

function isOutside(root: string, target: string): boolean {
  const inside = relative(root, target);
  return inside === ".." || inside.startsWith(`..${sep}`) || isAbsolute(inside);
}

/**
 * The image files below a folder, for `packImages`.
 *
 * @throws {DataError} As `filesBelow`.
 */
export async function imagesBelow(
  folder: string,
  followLinks: boolean,
  log: StageLog,
): Promise<{ readonly images: readonly ImageFile[]; readonly folders: readonly string[] }> {
  const odd = new Oddities();
  const { files, folders } = await filesBelow(folder, { followLinks, onOdd: odd.add });
  for (const sentence of odd.sentences(folder)) log.warn(sentence);
  const others = files.filter(({ path }) => imageExtension(path) === undefined);
  if (others.length > 0) {
    const such = `such as ${JSON.stringify(others[0]!.path)}`;
    log.warn(`passed over ${others.length} files that are no images (${kindsOf(others)}), ${such}`);
  }
  const tars = others.filter(({ path }) => /\.tar$/i.test(path)).length;
  if (tars > 0 && others.length === files.length)
    throw new DataError(
      `Cannot use ${JSON.stringify(folder)}: it holds ${tars} tars and no image; the source webdataset takes tars, such as ${JSON.stringify(join(folder, "**/*.tar"))}`,
    );
  const images = files
    .filter(({ path }) => imageExtension(path) !== undefined)
    .map(({ path, fullPath, sizeBytes, modifiedMs }) => ({
      path,
      sizeBytes,
      id: `${sizeBytes} ${modifiedMs}`,
      read: () => attempt(fullPath, () => readFile(fullPath)),
    }));
  return { images, folders: folders.filter((name) => !NOT_OURS.includes(name)) };
}

/** Does something with the disk; its errors become sentences. */
async function attempt<T>(path: string, step: () => Promise<T>): Promise<T> {
  try {
    return await step();
  } catch (cause) {
    throw problem(path, reasonOf(cause), cause);
  }
}

const problem = (path: string, reason: string, cause?: unknown): DataError =>
  new DataError(`Cannot read ${JSON.stringify(path)}: ${reason}`, { cause });

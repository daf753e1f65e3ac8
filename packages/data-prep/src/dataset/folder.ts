import { lstat, readdir, readFile, realpath, stat } from "node:fs/promises";
import { isAbsolute, join, relative, resolve, sep } from "node:path";
import { DataError, reasonOf } from "@madformer/artifacts";
import type { StageLog } from "@madformer/stage";
import { imageExtension, type ImageFile } from "./pack.js";

/** A file below a folder. */
export interface FolderFile {
  /** Relative to the folder, with forward slashes. */
  readonly path: string;
  readonly fullPath: string;
  readonly sizeBytes: number;
  readonly modifiedMs: number;
}

/** Folders in folders. A data set has a few. */
const MAX_DEPTH = 64;

/**
 * All files below a folder, sorted by path. Names that start with a dot are passed over. A link to a file inside of the
 * folder is that file; a link to a folder is not followed.
 *
 * @param onOdd Told of what was passed over and has no dot.
 * @throws {DataError} If there is no such folder, or it cannot be read, or a link leads out of it.
 */
export async function filesBelow(folder: string, onOdd: (message: string) => void): Promise<FolderFile[]> {
  const root = await attempt(folder, () => realpath(resolve(folder)));
  const files: FolderFile[] = [];
  const walk = async (below: string, depth: number): Promise<void> => {
    if (depth > MAX_DEPTH) throw problem(join(root, below), `folders lie more than ${MAX_DEPTH} deep`);
    const here = join(root, below);
    for (const name of (await attempt(here, () => readdir(here))).sort()) {
      if (name.startsWith(".")) continue;
      const [path, fullPath] = [below === "" ? name : `${below}/${name}`, join(here, name)];
      // A name that is no UTF-8 reads as one that does not exist.
      let status = await attempt(fullPath, () => lstat(fullPath));
      if (status.isSymbolicLink()) {
        const target = await attempt(fullPath, () => realpath(fullPath));
        const inside = relative(root, target);
        if (inside === ".." || inside.startsWith(`..${sep}`) || isAbsolute(inside))
          throw problem(fullPath, `it is a link to ${JSON.stringify(target)}, outside of ${JSON.stringify(root)}`);
        status = await attempt(target, () => stat(target));
        if (status.isDirectory()) {
          onOdd(`${JSON.stringify(path)} is a link to a folder, which is not followed`);
          continue;
        }
      }
      if (status.isDirectory()) await walk(path, depth + 1);
      else if (!status.isFile()) onOdd(`${JSON.stringify(path)} is neither a file nor a folder`);
      else files.push({ path, fullPath, sizeBytes: status.size, modifiedMs: status.mtimeMs });
    }
  };
  await walk("", 0);
  return files.sort((a, b) => (a.path < b.path ? -1 : 1));
}

/**
 * The image files below a folder, for `packImages`.
 *
 * @throws {DataError} As `filesBelow`.
 */
export async function imagesBelow(folder: string, log: StageLog): Promise<ImageFile[]> {
  const files = await filesBelow(folder, (message) => log.warn(`passed over: ${message}`));
  const images = files.filter(({ path }) => imageExtension(path) !== undefined);
  const others = files.length - images.length;
  if (others > 0) {
    const first = files.find(({ path }) => imageExtension(path) === undefined)!;
    log.warn(`passed over ${others} files that are no images, such as ${JSON.stringify(first.path)}`);
  }
  return images.map(({ path, fullPath, sizeBytes, modifiedMs }) => ({
    path,
    sizeBytes,
    id: `${sizeBytes} ${modifiedMs}`,
    read: () => attempt(fullPath, () => readFile(fullPath)),
  }));
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

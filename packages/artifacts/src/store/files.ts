import { createHash } from "node:crypto";
import { once } from "node:events";
import { createReadStream, lstatSync, statSync, type Stats } from "node:fs";
import { mkdir, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { DataError } from "../data-error.js";
import { writeAtomically } from "../file/atomic-file.js";
import { reasonOf } from "../file/byte-source.js";
import { FilePath, type Digest } from "./manifest.js";

/** Larger files are hashed by a thread of their own: whoever asked can go on meanwhile. */
const THREAD_BYTES = 2 ** 26;

const THREAD = `
const { createHash } = require("node:crypto");
const { openSync, readSync } = require("node:fs");
const { parentPort, workerData } = require("node:worker_threads");
const [file, piece, hash] = [openSync(workerData, "r"), Buffer.alloc(1 << 20), createHash("sha256")];
let bytes = 0;
for (let count; (count = readSync(file, piece)) > 0; bytes += count) hash.update(piece.subarray(0, count));
parentPort.postMessage({ sha256: hash.digest("hex"), bytes });`;

/** SHA-256 and size of a file, read in pieces. */
export async function digestFile(path: string): Promise<{ sha256: Digest; bytes: number }> {
  const hash = createHash("sha256");
  let bytes = 0;
  try {
    if ((await stat(path)).size > THREAD_BYTES) {
      const thread = new Worker(THREAD, { eval: true, workerData: path });
      return ((await once(thread, "message")) as [{ sha256: Digest; bytes: number }])[0];
    }
    for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 }) as AsyncIterable<Uint8Array>) {
      hash.update(chunk);
      bytes += chunk.length;
    }
  } catch (cause) {
    throw new DataError(`Cannot read ${JSON.stringify(path)}: ${reasonOf(cause)}`, { cause });
  }
  return { sha256: hash.digest("hex"), bytes };
}

/** Writes a text whole or not at all. */
export async function writeText(path: string, text: string): Promise<void> {
  await writeAtomically(path, (file) => file.append(Buffer.from(text)));
}

/**
 * Makes a folder below another one that is ours alone. A file in the way, which nothing of ours puts there, is removed.
 *
 * @param root Ours; made too, but a file in its own way stays.
 * @param below Relative to it, with forward slashes.
 * @returns Its path.
 * @throws {Error} The system's, if it cannot be made.
 */
export async function makeFolder(root: string, below: string): Promise<string> {
  await mkdir(root, { recursive: true });
  let path = root;
  for (const part of below.split("/")) {
    path = join(path, part);
    if ((await stat(path).catch(() => undefined))?.isFile()) await rm(path, { force: true });
    await mkdir(path, { recursive: true });
  }
  return path;
}

/**
 * What lies at a path; undefined if nothing does, a file in the place of one of its folders and links in a circle
 * included.
 *
 * @param follow Whether a link is what it leads to.
 */
export function statusAt(path: string, follow = false): Stats | undefined {
  try {
    return (follow ? statSync : lstatSync)(path, { throwIfNoEntry: false });
  } catch (error) {
    if (["ENOTDIR", "ELOOP"].includes((error as NodeJS.ErrnoException).code ?? "")) return undefined;
    throw error;
  }
}

/** Whether there is something at this path. */
export async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}

/**
 * All files below a folder, as sorted relative paths with forward slashes. Leftovers of writes that were cut off
 * (`.*.tmp`) are left out.
 *
 * @param skip Paths of folders, relative, that are not entered.
 * @param onOdd Told of links to nothing and to folders, and of names that are no UTF-8, which are then passed over;
 *   links to files are those files.
 * @throws {DataError} If something is neither a file nor a folder, or has a name that a manifest cannot hold. Without
 *   `onOdd`, if there is any link, which could lead anywhere, or a name that is no UTF-8.
 */
export async function listFiles(
  folder: string,
  skip: readonly string[] = [],
  onOdd?: (message: string) => void,
): Promise<string[]> {
  const found: string[] = [];
  const walk = async (below: string): Promise<void> => {
    for (const name of await readdir(join(folder, below))) {
      const path = below === "" ? name : `${below}/${name}`;
      if (/^\..*\.tmp$/.test(name) || skip.includes(path)) continue;
      // A name that is no UTF-8 reads as one that does not exist.
      const entry = statusAt(join(folder, path));
      const link = entry?.isSymbolicLink() ?? false;
      const status = link && onOdd ? statusAt(join(folder, path), true) : entry;
      const shown = JSON.stringify(join(folder, path));
      if (status === undefined || (link && !(await exists(join(folder, path))))) {
        const odd = link ? "it is a link to nothing" : "there is no such file, or its name is no UTF-8";
        if (!onOdd) throw new DataError(`Cannot take ${shown}: ${odd}`);
        onOdd(`passed over ${shown}: ${odd}`);
      } else if (link && onOdd && status.isDirectory())
        onOdd(
          `passed over ${shown}: it is a link to a folder, expected files, links to files, or that folder by its own path`,
        );
      else if (status.isDirectory()) await walk(path);
      else if (!status.isFile())
        throw new DataError(
          `Cannot take ${shown}: it is ${link && !onOdd ? "a link, which is not followed" : "neither a file nor a folder"}`,
        );
      else if (!FilePath.safeParse(path).success)
        throw new DataError(`Cannot take ${shown}: a manifest cannot hold this name`);
      else found.push(path);
    }
  };
  await walk("");
  return found.sort();
}

import type { BigIntStats } from "node:fs";
import { readdir, realpath, stat } from "node:fs/promises";
import { join } from "node:path";
import { canonicalJson, digestFile, sha256, type Digest } from "@madformer/artifacts";

/** A file or a folder outside of the workspace that a stage's config names, and the stage reads. */
export interface Outside {
  readonly path: string;
  /**
   * What counts as another one: `content`, other bytes (of one file, which is hashed when it was touched); `time`,
   * other names, sizes or times of change (of one file, or all below a folder), where hashing would take as long as the
   * stage.
   */
  readonly by: "content" | "time";
  /** Of a folder: only files whose path below it, with forward slashes, fits this regular expression (flags `su`). */
  readonly pattern?: string;
}

/** What was found at an `Outside`. */
export interface OutsideState extends Outside {
  /** Digest of names, sizes and times. */
  readonly seen: Digest;
  /** Digest of the bytes, with `by: "content"`. */
  readonly sha256?: Digest;
}

/** Folders in folders; a link that leads up would have no end. */
const MAX_DEPTH = 64;

/** Looks at what is outside. What is not there is seen as missing: the stage says so better. */
export async function lookOutside(places: readonly Outside[]): Promise<OutsideState[]> {
  return await Promise.all(places.map((place) => look(place)));
}

/**
 * Looks again.
 *
 * @param before What was found before: a file that was not touched since is not hashed again.
 */
export async function lookAgain(before: readonly OutsideState[]): Promise<OutsideState[]> {
  return await Promise.all(before.map((state) => look(state, state)));
}

/** The digest that becomes part of a stage's key; undefined if there is nothing outside. */
export function outsideDigest(states: readonly OutsideState[]): Digest | undefined {
  if (states.length === 0) return undefined;
  return sha256(canonicalJson(states.map(({ by, seen, sha256 = "missing" }) => (by === "content" ? sha256 : seen))));
}

async function look({ path, by, pattern }: Outside, before?: OutsideState): Promise<OutsideState> {
  const place = { path, by, ...(pattern === undefined ? {} : { pattern }) };
  const status = await statOf(path);
  const lines = status?.isDirectory()
    ? await linesBelow(path, pattern === undefined ? undefined : new RegExp(pattern, "su"))
    : [lineOf("", status)];
  const seen = sha256(lines.join("\n"));
  if (by === "time" || !status?.isFile()) return { ...place, seen };
  if (before?.seen === seen && before.sha256 !== undefined) return { ...place, seen, sha256: before.sha256 };
  return { ...place, seen, sha256: (await digestFile(path)).sha256 };
}

/**
 * A line about each file below a folder, in the order of their paths; links are followed. Times of change of the inode
 * are looked at too: copying an old file over another one sets all others back.
 */
async function linesBelow(root: string, pattern: RegExp | undefined): Promise<string[]> {
  const lines: string[] = [];
  const walk = async (below: string, above: readonly string[]): Promise<void> => {
    const folder = await realpath(join(root, below)).catch(() => undefined);
    if (folder === undefined || above.includes(folder) || above.length > MAX_DEPTH) return;
    const names = await readdir(folder).catch(() => [] as string[]);
    for (const name of names.sort()) {
      const path = below === "" ? name : `${below}/${name}`;
      const status = await statOf(join(folder, name));
      if (status?.isDirectory()) await walk(path, [...above, folder]);
      else if (pattern === undefined || pattern.test(path)) lines.push(lineOf(path, status));
    }
  };
  await walk("", []);
  return lines;
}

const statOf = (path: string): Promise<BigIntStats | undefined> => stat(path, { bigint: true }).catch(() => undefined);

function lineOf(path: string, status: BigIntStats | undefined): string {
  if (status === undefined) return `${JSON.stringify(path)} missing`;
  return `${JSON.stringify(path)} ${status.size} ${status.mtimeNs} ${status.ctimeNs}`;
}

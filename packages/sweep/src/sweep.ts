import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { ConfigError, isName, nearest } from "@madformer/stage";
import { readSweepFile, SweepError, type SweepFile } from "../plain/sweep-file.mjs";

/** A sweep: many runs of one pipeline, in each of which some fields of its configs have other values. */
export type Sweep = SweepFile;

/** Names of all sweeps of a workspace. */
export async function sweepNames(root: string): Promise<string[]> {
  const files = await readdir(join(root, "sweeps")).catch(() => [] as string[]);
  return files
    .flatMap((file) => (file.endsWith(".json") && isName(file.slice(0, -5)) ? [file.slice(0, -5)] : []))
    .sort();
}

/**
 * Reads `sweeps/<name>.json`. Its grammar stands in `plain/sweep-file.mjs`.
 *
 * @throws {ConfigError} If there is none, or it cannot be used: names everything that is wrong with it.
 */
export async function readSweep(root: string, name: string): Promise<Sweep> {
  const names = await sweepNames(root);
  if (!names.includes(name)) {
    const near = nearest(name, names);
    const there = names.length === 0 ? "and there is none" : `expected one of: ${names.join(", ")}`;
    throw new ConfigError(
      `Cannot find the sweep ${JSON.stringify(name)}, ${there}${near === undefined ? "" : `; did you mean ${near}?`}`,
    );
  }
  return usable(() => readSweepFile(join(root, "sweeps", `${name}.json`)));
}

/** @throws {ConfigError} Instead of a `SweepError`. */
export function usable<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof SweepError)) throw error;
    throw new ConfigError(error.message, { cause: error });
  }
}

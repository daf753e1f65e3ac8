import { readFile } from "node:fs/promises";
import { DataError, reasonOf, type Artifact } from "@madformer/artifacts";
import type { StageFiles } from "@madformer/stage";
import { z } from "zod";

/** What the classes of a data set are called, by number: it goes from stage to stage where there is one. */
export const CLASS_NAMES = "classes.json";

const Names = z.array(z.string().max(1024)).min(1).max(1_000_000);

/**
 * Hands on the names of classes to what comes after.
 *
 * @returns They; undefined if there are none.
 * @throws {DataError} If they are no list of names.
 */
export async function copyClassNames(from: Artifact, files: StageFiles): Promise<readonly string[] | undefined> {
  if (!from.files.includes(CLASS_NAMES)) return undefined;
  const text = await readFile(await from.path(CLASS_NAMES), "utf8");
  let names;
  try {
    names = Names.parse(JSON.parse(text));
  } catch (cause) {
    throw new DataError(`Cannot read ${CLASS_NAMES}: it is no list of names: ${reasonOf(cause)}`, { cause });
  }
  await files.write(CLASS_NAMES, text);
  return names;
}

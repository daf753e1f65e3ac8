import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { DataError } from "../data-error.js";
import { reasonOf } from "../file/byte-source.js";
import type { Digest } from "../store/manifest.js";

/** A prefix of a bucket that several machines share as their store. */
export interface RemotePlace {
  /** As it was given, without a slash at its end: `s3://bucket/prefix`. */
  readonly uri: string;
  readonly bucket: string;
  /** With a slash at its end, or empty. */
  readonly prefix: string;
}

export const SETTINGS_FILE = "madformer.json";
const MAX_BYTES = 2 ** 20;
const Settings = z.strictObject({ remote: z.string().optional() });

/**
 * The remote store of a workspace: `MADFORMER_REMOTE`, or the field `remote` of `madformer.json` at its root. `off`
 * means none.
 *
 * @throws {DataError} If either says something else than `s3://bucket/prefix`.
 */
export async function remotePlace(workspace: string): Promise<RemotePlace | undefined> {
  const variable = process.env["MADFORMER_REMOTE"];
  if (variable !== undefined && variable !== "") return placeOf(variable, "MADFORMER_REMOTE");
  const path = join(workspace, SETTINGS_FILE);
  let text: string;
  try {
    if ((await stat(path)).size > MAX_BYTES) throw new Error(`it has more than ${MAX_BYTES} bytes`);
    text = await readFile(path, "utf8");
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new DataError(`Cannot read ${JSON.stringify(path)}: ${reasonOf(cause)}`, { cause });
  }
  try {
    const { remote } = Settings.parse(JSON.parse(text.replace(/^\uFEFF/, "")));
    return remote === undefined ? undefined : placeOf(remote, `"remote" of ${SETTINGS_FILE}`);
  } catch (cause) {
    if (cause instanceof DataError) throw cause;
    const [issue] = cause instanceof z.ZodError ? cause.issues : [];
    const problem = issue ? `${issue.path.join(".") || "it"}: ${issue.message}` : (cause as Error).message;
    throw new DataError(`Cannot use ${JSON.stringify(path)}: ${problem}`, { cause });
  }
}

/** @param where What messages call the place of the words. */
export function placeOf(words: string, where: string): RemotePlace | undefined {
  if (words === "off") return undefined;
  const match = /^s3:\/\/([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])((?:\/[\w.=+@-]+)*)\/*$/.exec(words);
  const parts = (match?.[2] ?? "").split("/").slice(1);
  if (!match || words.length > 800 || parts.some((part) => part === "." || part === ".."))
    throw new DataError(
      `Cannot use ${where}: found ${JSON.stringify(words.slice(0, 200))}, expected s3://bucket/prefix or off`,
    );
  const prefix = parts.map((part) => `${part}/`).join("");
  return { uri: `s3://${match[1]}/${prefix}`.replace(/\/$/, ""), bucket: match[1]!, prefix };
}

/**
 * Where things lie below the prefix. Objects are checked by their digests, so anybody may write them; what lies below
 * `trusted/` is believed, and only runs that are trusted may write there.
 */
export const LAYOUT = {
  objects: "objects/",
  keys: "trusted/keys/",
  records: "trusted/records/",
  state: "trusted/gc/state.json",
  marks: "trusted/gc/marks/",
  probes: "objects/probe-",
  object: (sha256: Digest): string => `objects/${sha256.slice(0, 2)}/${sha256}`,
  key: (key: Digest): string => `trusted/keys/${key}.json`,
  record: (sha256: Digest): string => `trusted/records/${sha256}.json`,
} as const;

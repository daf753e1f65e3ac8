import type { BigIntStats } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { z } from "zod";
import { DataError } from "../data-error.js";
import { reasonOf } from "../file/byte-source.js";
import type { Artifact } from "./artifact.js";
import { digestFile, exists, listFiles } from "./files.js";
import { FilePath, Manifest } from "./manifest.js";
import { StageRecord } from "./record.js";
import { isConsistent, sameContent, Store } from "./store.js";

/** Names that stand for a stage's output beside its files. */
export const MANIFEST_FILE = "manifest.json";
export const RECORD_FILE = "record.json";
/** What a manifest says of what no stage made. */
const NOBODY = "folder";
const NOT_CONTENT = [MANIFEST_FILE, RECORD_FILE, "logs", "tmp", ".madformer.json", ".lock"];

/**
 * An artifact of a single file that no stage made: that of a folder which holds nothing else.
 *
 * @throws {DataError} If it cannot be read, or a manifest cannot hold its name.
 */
export async function openFile(path: string, store: Store = Store.at(".")): Promise<Artifact> {
  const [folder, name] = [dirname(resolve(path)), basename(path)];
  if (!FilePath.safeParse(name).success)
    throw new DataError(`Cannot open ${JSON.stringify(path)}: a manifest cannot hold this name`);
  const manifest: Manifest = { format: 1, stage: NOBODY, facts: {}, files: { [name]: await digestFile(path) } };
  return artifactIn(folder, manifest, undefined, store);
}

/**
 * An artifact from a folder: what a stage wrote there, the output folder of a pipeline's stage (whose files lie in the
 * store), or any folder of files.
 *
 * @param store Where files are looked for that are not beside the manifest.
 * @param onOdd Told of what is passed over in a folder that no stage wrote: links to nothing and to folders, names that
 *   are no UTF-8. Links to files are followed there.
 * @throws {DataError} If there is no such folder, or its manifest cannot be read, or it holds what is neither file nor
 *   folder.
 */
export async function openFolder(
  folder: string,
  store: Store = Store.at("."),
  onOdd: (message: string) => void = (message) => process.emitWarning(message),
): Promise<Artifact> {
  const root = resolve(folder);
  if (!(await exists(root))) throw new DataError(`Cannot open ${JSON.stringify(folder)}: there is no such folder`);
  const manifest = (await readJson(join(root, MANIFEST_FILE), Manifest)) ?? (await manifestOf(root, NOBODY, {}, onOdd));
  const record = await readJson(join(root, RECORD_FILE), StageRecord);
  if (record !== undefined && !isConsistent({ manifest, record }))
    throw new DataError(
      `Cannot use ${JSON.stringify(folder)}: ${MANIFEST_FILE} and ${RECORD_FILE} do not belong together, one of them is damaged; ` +
        "the command that made it, given again, mends it",
    );
  return artifactIn(root, manifest, record, store);
}

/** Files of a manifest, which lie in a folder or in the store. */
function artifactIn(root: string, manifest: Manifest, record: StageRecord | undefined, store: Store): Artifact {
  const inStore = store.artifact({ manifest, record });
  const checked = new Map<string, Promise<string>>();
  const seen = new Map<string, BigIntStats>();
  const path = async (file: string): Promise<string> => {
    const ref = Object.hasOwn(manifest.files, file) ? manifest.files[file] : undefined;
    const here = join(root, file);
    if (ref === undefined || !(await exists(here))) return inStore.path(file);
    seen.set(file, await stat(here, { bigint: true }));
    const { sha256 } = await digestFile(here);
    if (sha256 === ref.sha256) return here;
    throw new DataError(
      `${JSON.stringify(here)} is damaged: its SHA-256 is ${sha256.slice(0, 12)}..., its manifest says ${ref.sha256.slice(0, 12)}...`,
    );
  };
  return {
    ...inStore,
    path: (file) => {
      const known = checked.get(file) ?? path(file);
      checked.set(file, known);
      return known;
    },
    changed: async () => {
      const names = [...(await inStore.changed())];
      for (const [file, before] of seen) {
        const after = await stat(join(root, file), { bigint: true }).catch(() => undefined);
        if (after === undefined || !sameContent(before, after)) names.push(file);
      }
      return names;
    },
  };
}

/**
 * The manifest of the files in a folder.
 *
 * @param onOdd As in `listFiles`.
 */
export async function manifestOf(
  folder: string,
  stage: string,
  facts: Manifest["facts"],
  onOdd?: (message: string) => void,
): Promise<Manifest> {
  const files: Record<string, { sha256: string; bytes: number }> = {};
  for (const file of await listFiles(folder, NOT_CONTENT, onOdd)) files[file] = await digestFile(join(folder, file));
  return { format: 1, stage, facts, files };
}

/** A checked JSON file, or undefined where there is none. */
async function readJson<T>(path: string, schema: { parse(value: unknown): T }): Promise<T | undefined> {
  const text = await readFile(path, "utf8").catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new DataError(`Cannot read ${JSON.stringify(path)}: ${reasonOf(error)}`, { cause: error });
  });
  if (text === undefined) return undefined;
  try {
    return schema.parse(JSON.parse(text));
  } catch (cause) {
    const name = basename(path);
    throw new DataError(
      `Cannot read ${JSON.stringify(path)}: it is not what a stage writes (${firstProblem(cause)}); a file of yours needs another ` +
        `name, for ${name} stands for a stage's output`,
      { cause },
    );
  }
}

/** What is wrong with a JSON file, in a part of one line. */
function firstProblem(cause: unknown): string {
  const issue = cause instanceof z.ZodError ? cause.issues[0] : undefined;
  const message = issue ? `${[...issue.path, issue.message].join(": ")}` : (cause as Error).message;
  const line = message.replace(/\s+/g, " ");
  return line.length > 200 ? `${line.slice(0, 200)}...` : line;
}

/** Reads manifest.json of a folder, if there is one. */
export async function readManifest(folder: string): Promise<Manifest | undefined> {
  return readJson(join(folder, MANIFEST_FILE), Manifest);
}

/** Reads record.json of a folder, if there is one. */
export async function readRecord(folder: string): Promise<StageRecord | undefined> {
  return readJson(join(folder, RECORD_FILE), StageRecord);
}

import { readdirSync } from "node:fs";
import { link, lstat, mkdir, readFile, rm, symlink } from "node:fs/promises";
import { dirname, join, relative, resolve } from "node:path";
import {
  canonicalJson,
  isConsistent,
  MANIFEST_FILE,
  makeFolder,
  manifestText,
  prettyJson,
  readManifest,
  readRecord,
  RECORD_FILE,
  sha256,
  statusAt,
  writeText,
  type Digest,
  type Made,
  type ObjectRef,
  type Store,
} from "@madformer/artifacts";
import { z } from "zod";
import type { OutsideState } from "./outside.js";
import type { PipelineStage } from "./pipeline.js";

/** Beside manifest and record: what they were checked against, so that looking again is enough. */
const CHECKED_FILE = "checked.json";

const States = z.array(
  z.strictObject({
    path: z.string(),
    by: z.enum(["content", "time"]),
    pattern: z.string().optional(),
    seen: z.string(),
    sha256: z.string().optional(),
  }),
);

const Checked = z.strictObject({
  key: z.string(),
  entry: z.string(),
  program: z.string(),
  asked: z.record(z.string(), z.string()).optional(),
  engine: States.optional(),
  outside: States,
  remote: z.string().optional(),
  check: z.string(),
});

/** That a stage, as a pipeline and its program were, has a key: the part of a check that takes loading the program. */
export interface Checked {
  readonly key: Digest;
  /** Digest of the pipeline's words about the stage: `uses`, `config`, and what it says about the engine. */
  readonly entry: Digest;
  /** Digest of the program, whose schema fills in the config. */
  readonly program: Digest;
  /** What it was asked to compute with (`askedOf`): another engine is another key. Only of a stage that computes. */
  readonly asked?: Readonly<Record<string, string>> | undefined;
  /** The files that decided which version of its engine it got (`lookEngine`): another version is another key, too. */
  readonly engine?: readonly OutsideState[];
  readonly outside: readonly OutsideState[];
  /** The remote store in which all of its files are: those that are not here are fetched when something reads them. */
  readonly remote?: string;
}

/** Where a pipeline keeps what tells of a stage's output. */
export function outputFolder(pipeline: string, stage: string): string {
  return join(pipeline, "out", stage);
}

/** Where it says what the output was checked against. */
export const checkedPath = (out: string): string => join(out, CHECKED_FILE);

/** The digest of what a pipeline says about a stage alone. */
export function entryDigest({ uses, config, compute }: Pick<PipelineStage, "uses" | "config" | "compute">): Digest {
  return sha256(canonicalJson({ uses, config, ...compute }));
}

/**
 * Puts a stage's output where people look: manifest and record, those of its files and logs that are here under their
 * names, and what they were checked against. Whatever is in the way goes. The last file is `checked.json`: without it
 * nothing here counts.
 *
 * @param pipeline The pipeline's folder.
 */
export async function putOutput(
  pipeline: string,
  stage: string,
  made: Made,
  checked: Checked,
  store: Store,
): Promise<void> {
  const out = await showOutput(pipeline, stage, made, store);
  const { asked, engine = [], ...rest } = checked;
  const told = {
    ...rest,
    ...(asked ? { asked } : {}),
    ...(engine.length > 0 ? { engine: engine.map((state) => ({ ...state })) } : {}),
    outside: checked.outside.map((state) => ({ ...state })),
  };
  await writeIfOther(checkedPath(out), `${JSON.stringify({ ...told, check: sha256(canonicalJson(told)) }, null, 2)}\n`);
}

/** The same without the last file: people see the output, and the next run looks at it in full. */
export async function showOutput(pipeline: string, stage: string, made: Made, store: Store): Promise<string> {
  const out = await makeFolder(pipeline, `out/${stage}`);
  await linkFiles(out, made, store);
  await writeIfOther(join(out, RECORD_FILE), recordText(made));
  await writeIfOther(join(out, MANIFEST_FILE), manifestText(made.manifest));
  return out;
}

/** What `checked.json` says; undefined if it is missing or damaged. */
export async function readChecked(out: string): Promise<Checked | undefined> {
  try {
    const { check, ...checked } = Checked.parse(JSON.parse(await readFile(checkedPath(out), "utf8")));
    return check === sha256(canonicalJson(checked)) ? (checked as Checked) : undefined;
  } catch {
    return undefined;
  }
}

/** What a stage's folder says that was made, if manifest and record are whole and belong together. */
export async function readOutput(out: string): Promise<Made | undefined> {
  const [manifest, record] = await Promise.all([readManifest(out), readRecord(out)]).catch(() => []);
  if (!manifest || !record) return undefined;
  return isConsistent({ manifest, record }) ? { manifest, record } : undefined;
}

/** The same of a stage whose files are in the remote store, and of which the store of this machine knows nothing. */
export async function lentOutput(out: string): Promise<Made | undefined> {
  const [made, checked] = [await readOutput(out), await readChecked(out)];
  return checked?.remote !== undefined && checked.key === made?.record.key ? made : undefined;
}

/**
 * What is not as `putOutput` leaves it, in words; undefined if nothing. Looks at each file of the folder, its inode and
 * that of its object, and reads manifest and record.
 *
 * @param elsewhere Whether files may be missing, because they are in the remote store.
 */
export async function oddOutput(out: string, made: Made, store: Store, elsewhere = false): Promise<string | undefined> {
  for (const [file, expected] of [
    [MANIFEST_FILE, manifestText(made.manifest)],
    [RECORD_FILE, recordText(made)],
  ] as const)
    if ((await readFile(join(out, file), "utf8").catch(() => undefined)) !== expected) return `${file} is another one`;
  const expected = shownFiles(made);
  for (const folder of FOLDERS)
    for (const file of namesBelow(out, folder)) if (!expected.has(file)) return `${file} is none of its files`;
  for (const [file, shown] of expected)
    if (!isShown(join(out, file), store, shown) && !(elsewhere && statusAt(join(out, file)) === undefined))
      return `${file} is not the object that it was`;
  return undefined;
}

const FOLDERS = ["files", "logs"] as const;
/** How often a file is put where something else appears in its place. */
const ATTEMPTS = 10;
const recordText = ({ record }: Made): string => prettyJson(record);

interface Shown {
  readonly ref: ObjectRef;
  /** Whether it is a log, which may be lost: it decides nothing. */
  readonly log: boolean;
}

/** The files that a stage's folder shows, by their paths in it. */
function shownFiles({ manifest, record }: Made): Map<string, Shown> {
  const shown = new Map<string, Shown>();
  for (const [file, ref] of Object.entries(manifest.files)) shown.set(`files/${file}`, { ref, log: false });
  for (const [file, ref] of Object.entries(record.logs)) shown.set(file, { ref, log: true });
  return shown;
}

/** Whether a path shows an object that is as the store left it. A log that is lost is not shown. */
function isShown(path: string, store: Store, { ref, log }: Shown): boolean {
  const object = statusAt(store.objectPath(ref.sha256));
  const shown = statusAt(path, true);
  if (object === undefined) return log && statusAt(path) === undefined;
  return shown !== undefined && shown.ino === object.ino && shown.dev === object.dev && store.untouched(ref);
}

/** Paths of everything below a folder that is not a folder. */
function namesBelow(out: string, folder: string): string[] {
  const status = statusAt(join(out, folder));
  if (status === undefined) return [];
  if (!status.isDirectory()) return [folder];
  return readdirSync(join(out, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`;
    return entry.isDirectory() ? namesBelow(out, path) : [path];
  });
}

/**
 * `<out>/files` and `<out>/logs`: what a stage wrote, under its names. They are second names of the store's objects,
 * not symbolic links: programs that follow those, as browsers do, see a name without an ending. Objects are read-only,
 * and one that is written to all the same is found out.
 */
async function linkFiles(out: string, made: Made, store: Store): Promise<void> {
  const expected = shownFiles(made);
  for (const folder of FOLDERS)
    for (const file of namesBelow(out, folder)) if (!expected.has(file)) await rm(join(out, file), { force: true });
  for (const [file, shown] of expected) {
    const { ref } = shown;
    const path = join(out, file);
    if (!(await store.intact(ref))) {
      await rm(path, { recursive: true, force: true });
      continue;
    }
    const folder = await makeFolder(out, dirname(file));
    const object = store.objectPath(ref.sha256);
    for (let attempt = 1; attempt <= ATTEMPTS && !isShown(path, store, shown); attempt++) {
      await rm(path, { recursive: true, force: true });
      const there = await link(object, path)
        .catch((error: unknown) => {
          if (isThere(error)) throw error;
          return symlink(relative(resolve(folder), object), path); // the store may be another disk
        })
        .catch((error: unknown) => {
          if (!isThere(error)) throw error;
          return "another process shows it at the same moment";
        });
      if (there === undefined) break;
    }
  }
}

const isThere = (error: unknown): boolean => (error as NodeJS.ErrnoException).code === "EEXIST";

async function writeIfOther(path: string, text: string): Promise<void> {
  if ((await readFile(path, "utf8").catch(() => undefined)) === text) return;
  if ((await lstat(path).catch(() => undefined))?.isDirectory()) await rm(path, { recursive: true });
  await mkdir(dirname(path), { recursive: true });
  await writeText(path, text);
}

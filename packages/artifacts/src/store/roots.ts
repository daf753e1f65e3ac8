import { lstat, open, readdir, rm, stat } from "node:fs/promises";
import { join, resolve, win32 } from "node:path";
import { z } from "zod";
import { DataError } from "../data-error.js";
import { reasonOf } from "../file/byte-source.js";
import { makeFolder, writeText } from "./files.js";
import { MANIFEST_FILE, readManifest, readRecord, RECORD_FILE } from "./folder.js";
import { isCode } from "./lock-file.js";
import { machineName, Printable } from "./lock-holder.js";
import { takeLock } from "./lock.js";
import { sha256, type Digest } from "./manifest.js";
import { isConsistent, type Made, type Store } from "./store.js";

/** What a workspace shows as its outputs: `<pipeline>/<stage>` -> key. */
export type Shown = Readonly<Record<string, Digest>>;

const Key = z.string().regex(/^[0-9a-f]{64}$/, "expected 64 hex digits");

/** A workspace that uses a store, as it is registered there. */
const Registration = z
  .strictObject({
    host: Printable,
    workspace: z
      .string()
      .max(4096)
      .refine((path) => win32.isAbsolute(path), { error: "expected an absolute path" }),
    updatedAt: z.iso.datetime(),
    shown: z.record(z.string().regex(/^[^/]+\/[^/]+$/), Key),
  })
  .readonly();
type Registration = z.infer<typeof Registration>;

/** A workspace whose outputs stay in the store. */
export interface Root {
  readonly host: string;
  readonly workspace: string;
  readonly shown: Shown;
  /** How many outputs it shows. */
  readonly outputs: number;
  /** Those that can be read from here. */
  readonly made: readonly Made[];
  /** Keys of all, and of what they were before, where that may still be meant. */
  readonly keys: readonly Digest[];
}

/** No registration, manifest or record of ours is longer; a pipe or a device would never end. */
const MAX_BYTES = { registration: 4 << 20, output: 256 << 20 };

const rootsFolder = (store: Store): string => join(store.root, "roots");

function registrationPath(store: Store, workspace: string): string {
  return join(rootsFolder(store), `${sha256(`${machineName()}\n${workspace}`).slice(0, 16)}.json`);
}

/**
 * Tells a store what a workspace shows as its outputs, so that no other workspace's garbage collection removes it.
 * Outputs that were registered before stay registered. Cheap if nothing is new.
 *
 * @param shown One output or more.
 */
export async function registerRoot(store: Store, workspace: string, shown: Shown): Promise<void> {
  const folder = resolve(workspace);
  const path = registrationPath(store, folder);
  const isKnown = (known: Registration | undefined): boolean =>
    known !== undefined && Object.entries(shown).every(([output, key]) => known.shown[output] === key);
  if (isKnown(await ownRegistration(path))) return;
  await makeFolder(store.root, "roots");
  await using _ = await takeLock(`${path}.lock`);
  const before = await ownRegistration(path);
  if (isKnown(before)) return;
  const registration = Registration.parse({
    host: machineName(),
    workspace: folder,
    updatedAt: new Date().toISOString(),
    shown: { ...before?.shown, ...shown },
  });
  if ((await lstat(path).catch(() => undefined))?.isDirectory()) await rm(path, { recursive: true });
  await writeText(path, `${JSON.stringify(registration, null, 2)}\n`);
}

/** A registration that its own workspace will write anew; a damaged one is as good as none. */
const ownRegistration = (path: string): Promise<Registration | undefined> =>
  readRegistration(path).catch(() => undefined);

/**
 * The workspaces whose outputs stay in a store. Of one on this machine, what its `pipelines/<pipeline>/out/<stage>`
 * show now, and what is registered where that cannot be read; of one on another machine, what is registered.
 *
 * @param own A workspace that counts, registered or not.
 * @param forget Whether registrations of workspaces that are gone are removed.
 * @returns Those, and the workspaces on this machine that are gone.
 * @throws {DataError} If a registration, or an output of a workspace that did not register it, is damaged: what it
 *   shows could be removed.
 */
export async function readRoots(
  store: Store,
  own: string | undefined,
  forget: boolean,
): Promise<{ readonly roots: Root[]; readonly gone: string[] }> {
  const ownPath = own === undefined ? undefined : registrationPath(store, resolve(own));
  const names = await readdir(rootsFolder(store)).catch(() => [] as string[]);
  const paths = names.filter(isRegistration).map((name) => join(rootsFolder(store), name));
  const roots: Root[] = [];
  const gone: string[] = [];
  if (own !== undefined) {
    const registration = await ownRegistration(ownPath ?? "");
    roots.push(await rootAt(resolve(own), registration?.shown ?? {}));
  }
  for (const path of paths.filter((path) => path !== ownPath)) {
    const registration = await readRegistration(path);
    if (registration === undefined) continue; // another process has just forgotten it
    const { host, workspace, shown } = registration;
    const keys = Object.values(shown);
    if (host !== machineName()) roots.push({ host, workspace, shown, outputs: keys.length, made: [], keys });
    else if (await isGone(workspace)) {
      gone.push(workspace);
      if (forget) await forgetRoot(path, workspace);
    } else roots.push(await rootAt(workspace, shown));
  }
  return { roots, gone };
}

/** Whether a file in `roots/` is a registration, by its name. */
export const isRegistration = (name: string): boolean => /^[0-9a-f]{16}\.json$/.test(name);

async function readRegistration(path: string): Promise<Registration | undefined> {
  try {
    await assertSmall(path, MAX_BYTES.registration);
    await using file = await open(path);
    return Registration.parse(JSON.parse(await file.readFile("utf8")));
  } catch (cause) {
    if (isCode(cause, "ENOENT")) return undefined;
    throw new DataError(
      `Cannot tell what ${JSON.stringify(path)} keeps: ${problemOf(cause)}; remove it, and run a stage in the workspace that it was of`,
      { cause },
    );
  }
}

async function assertSmall(path: string, most: number): Promise<void> {
  const status = await stat(path);
  if (!status.isFile()) throw new Error("it is no file");
  if (status.size > most) throw new Error(`it has ${status.size} bytes, expected at most ${most}`);
}

const isGone = (workspace: string): Promise<boolean> =>
  lstat(workspace).then(
    () => false,
    (error: unknown) => isMissing(error),
  );

async function forgetRoot(path: string, workspace: string): Promise<void> {
  await using _ = await takeLock(`${path}.lock`);
  if (await isGone(workspace)) await rm(path, { force: true });
}

/** What a workspace on this machine shows. */
async function rootAt(workspace: string, registered: Shown): Promise<Root> {
  const made: Made[] = [];
  const keys: Digest[] = [];
  const shown: Record<string, Digest> = {};
  const namesIn = (folder: string): Promise<string[]> =>
    readdir(folder).catch((error: unknown) => {
      if (!isMissing(error)) Object.assign(shown, registered); // it may show anything that was registered
      return [];
    });
  for (const pipeline of await namesIn(join(workspace, "pipelines")))
    for (const stage of await namesIn(join(workspace, "pipelines", pipeline, "out"))) {
      const out = join(workspace, "pipelines", pipeline, "out", stage);
      const name = `${pipeline}/${stage}`;
      const key = Object.hasOwn(registered, name) ? registered[name] : undefined;
      const found = await readOutput(out).catch((cause: unknown) => {
        if (key !== undefined) return undefined;
        const what = `Cannot tell what ${JSON.stringify(out)} shows: ${problemOf(cause)}`;
        throw new DataError(`${what}; run its stage again, or remove it`, { cause });
      });
      if (found) made.push(found);
      // While another run's output is written, manifest and record are of two runs: what both name stays.
      const isWhole = found !== undefined && isConsistent(found);
      if (key !== undefined && !isWhole) keys.push(key);
      const now = found?.record.key ?? key;
      if (now !== undefined) shown[name] = now;
    }
  keys.push(...Object.values(shown));
  return { host: machineName(), workspace, shown, outputs: Object.keys(shown).length, made, keys };
}

/** Manifest and record of an output; undefined if one is missing. */
async function readOutput(out: string): Promise<Made | undefined> {
  try {
    for (const file of [MANIFEST_FILE, RECORD_FILE]) await assertSmall(join(out, file), MAX_BYTES.output);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
  const [manifest, record] = [await readManifest(out), await readRecord(out)];
  if (!manifest || !record) return undefined;
  Key.parse(record.key);
  return { manifest, record };
}

/** What is wrong with a file, in a few words. */
function problemOf(error: unknown): string {
  const cause = error instanceof DataError ? error.cause : error;
  const [issue] = cause instanceof z.ZodError ? cause.issues : [];
  return issue ? `${issue.path.join(".") || "it"}: ${issue.message}` : reasonOf(cause);
}

const isMissing = (error: unknown): boolean => isCode(error, "ENOENT") || isCode(error, "ENOTDIR");

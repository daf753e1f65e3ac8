import { constants } from "node:fs";
import { chmod, copyFile, mkdir, rename, rm, stat } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import {
  canonicalJson,
  DataError,
  exists,
  listFiles,
  makeFolder,
  sha256,
  takeLock,
  tryLock,
  type Artifact,
  type Digest,
  type Made,
  type ObjectRef,
  type StageRecord,
  type Store,
} from "@madformer/artifacts";
import { recordOf, Stopwatch } from "./attempt.js";
import { askedOf, computeOf, lookEngine, type Compute, type ComputeWords } from "./compute.js";
import { FINISHED_FILE, StageFiles } from "./files.js";
import { duration, openLog } from "./log.js";
import { lookAgain, lookOutside, outsideDigest, type OutsideState } from "./outside.js";
import type { StageRemote } from "./remote.js";
import type { Facts, Inputs, InputSpecs, Stage } from "./stage.js";

/** All code that a stage can run, by its digest. */
export interface BundleDigest {
  /** Digest of its bundle. */
  readonly sha256: Digest;
  /** npm packages it uses, `name@version`. */
  readonly externals: readonly string[];
  /** The bundle's file; it is kept in the store, so that what ran can be read again and compared. */
  readonly path?: string;
}

export interface RunOptions {
  readonly program: BundleDigest;
  readonly store: Store;
  readonly signal: AbortSignal;
  /** What the stage is to compute with; the environment stands behind it. */
  readonly compute?: ComputeWords;
  /** What is shown as the stage's output now: if the store has lost its note of it, and it is this, nothing is lost. */
  readonly shown?: Made | undefined;
  /** Where what this machine does not know is asked for, and what it makes is pushed to. */
  readonly remote?: StageRemote | undefined;
  /** Called when the stage is about to be computed: gets what it reads. */
  readonly prepare?: () => Promise<void>;
  /** Name shown in front of lines; the stage's own by default. */
  readonly title?: string;
  readonly stream?: NodeJS.WriteStream;
}

/**
 * The digest of everything that decides what a stage makes: its program, its complete config, the content (not the
 * history) of its inputs, and what it computes with if it computes.
 *
 * @param outside Digest of what it reads besides (`outsideDigest`).
 * @param compute What it computes with (`computeOf`).
 */
export function stageKey(
  stage: Pick<Stage, "name">,
  program: BundleDigest,
  config: unknown,
  inputs: Readonly<Record<string, Artifact | undefined>>,
  outside?: string,
  compute?: Compute,
): Digest {
  const digests = Object.entries(inputs).flatMap(([name, input]) => (input ? [[name, input.digest] as const] : []));
  return sha256(
    canonicalJson({
      stage: stage.name,
      program: program.sha256,
      config,
      inputs: Object.fromEntries(digests),
      ...(outside === undefined ? {} : { outside }),
      ...(compute === undefined ? {} : { compute }),
    }),
  );
}

/** What was made, and how it came about. */
export interface StageResult extends Made {
  /** Whether it was there already. */
  readonly reused: boolean;
  /** Whether it came from the remote store. */
  readonly fetched?: boolean;
  /** Whether its files are in the remote store, and not all of them here. */
  readonly elsewhere?: boolean;
  /** What the stage reads outside of the workspace, as it was. */
  readonly outside: readonly OutsideState[];
  /** What it was asked to compute with, if it computes. */
  readonly asked: Readonly<Record<string, string>> | undefined;
  /** The files that decided which version of its engine it got, as they were. */
  readonly engine: readonly OutsideState[];
}

/**
 * Makes what a stage makes, or finds it in the store. Nothing is computed twice: a known key whose objects are whole is
 * answered at once; where some objects are missing or damaged, the stage goes on from those that are whole; what an
 * interrupted attempt left is used, as far as its bytes are still those that were finished.
 *
 * Of two processes that want the same, one works and the other waits for it.
 *
 * @param config Complete, as parsed by the stage's schema.
 * @throws What the stage throws; `signal.reason` if aborted, or an Error if another process took its lock over. Its
 *   work is kept.
 * @throws {DataError} If a finished file, an input or something outside was changed while the stage ran: nothing is
 *   kept of what may have come from it under the stage's key.
 */
export async function runStage<C, I extends InputSpecs>(
  stage: Stage<C, I>,
  config: C,
  inputs: Inputs<I>,
  options: RunOptions,
): Promise<StageResult> {
  const { program, store, signal: asked, title = stage.name } = options;
  const { key, compute, about, known, fetched } = await lookup(stage, config, inputs, options);
  const { outside } = about;
  const stream = options.stream ?? process.stderr;
  const say = (message: string): void => void stream.write(`${title}: ${message}\n`);
  const found = await known();
  if (found) return found;

  const work = store.workPath(key);
  await makeFolder(store.root, "work");
  await using lock = await takeLock(`${work}.lock`, { signal: asked, onWait: say });
  const signal = AbortSignal.any([asked, lock.signal]); // whoever has taken the lock over works in the same folder
  const since = (await known()) ?? (await fetched()); // another process may have made it while this one waited
  if (since) return since;
  await options.prepare?.();

  const out = join(work, "out");
  await mkdir(join(out, "tmp"), { recursive: true });
  await unshare(out);
  await restoreWhole(store, key, out, say);
  await using watch = await Stopwatch.start(join(work, "attempt.json"));
  await using files = await StageFiles.open(out, () => assertInputsUnchanged(inputs));
  const { attempts } = watch.read();
  say(`${attempts > 1 ? `going on with attempt ${attempts}` : "working"} in ${relative(".", out)}`);
  if (files.lost.length > 0) say(`${lostOf(files.lost)} of the attempt before, making them again`);
  const facts = await runLogged(stage, config, inputs, { out, files, title, stream, signal, compute });
  await assertInputsUnchanged(inputs);
  await assertOutsideUnchanged(outside, files);

  const manifest = {
    format: 1 as const,
    stage: stage.name,
    facts: { ...facts },
    files: await files.collect((path) => store.add(path)),
  };
  const logs = await logsOf(out, (path) => store.add(path));
  if (program.path !== undefined) await keepCopy(store, program.path, join(work, "program.mjs"));
  const told = { key, program, config, inputs: digestsOf(inputs), outside: outsideDigest(outside), compute, logs };
  const record = recordOf(manifest, watch, told);
  await lock.assertHeld();
  await store.remember({ manifest, record });
  await watch.stop(); // a note that is written meanwhile would keep the folder from being removed
  await rm(work, { recursive: true, force: true });
  say(`done in ${duration(record.seconds)}`);
  await options.remote?.push({ manifest, record }, title);
  return { manifest, record, ...about, reused: false };
}

/**
 * What a stage makes, if the store or the remote one has it. Runs nothing, and waits for nobody who makes it now.
 *
 * @param config Complete, as parsed by the stage's schema.
 * @param whole Whether its files are fetched as well; else only what tells of them.
 */
export async function findStage<C, I extends InputSpecs>(
  stage: Stage<C, I>,
  config: C,
  inputs: Inputs<I>,
  options: RunOptions,
  whole = true,
): Promise<StageResult | undefined> {
  const { store } = options;
  const { key, known, fetched } = await lookup(stage, config, inputs, options);
  const found = await known();
  if (found || options.remote === undefined) return found;
  await makeFolder(store.root, "work");
  await using lock = await tryLock(`${store.workPath(key)}.lock`);
  return lock && ((await known()) ?? (await fetched(whole)));
}

/** A stage's key, and where what it names may be found. */
async function lookup<C, I extends InputSpecs>(
  stage: Stage<C, I>,
  config: C,
  inputs: Inputs<I>,
  { store, program, shown, remote, compute: words = {}, title = stage.name }: RunOptions,
) {
  const engine = await lookEngine(stage, words);
  const compute = computeOf(stage, words);
  const asked = compute && askedOf(words);
  const outside = await lookOutside(stage.outside?.(config) ?? []);
  const about = { outside, asked, engine };
  const key = stageKey(stage, program, config, inputs, outsideDigest(outside), compute);
  const known = async (): Promise<StageResult | undefined> => {
    const noted = await store.lookup(key);
    const made = noted ?? (shown?.record.key === key ? shown : undefined);
    const whole = made && (await store.missing(made.manifest)).length === 0;
    if (whole && !noted) await store.remember(made);
    return whole ? { ...made, ...about, reused: true } : undefined;
  };
  /** Who asks holds the lock. */
  const fetched = async (whole = true): Promise<StageResult | undefined> => {
    const there = await remote?.find(key);
    if (there === undefined) return undefined;
    const noted = await store.lookup(key);
    const made = noted?.record.manifest === there.record.manifest ? noted : there;
    if (!whole) return { ...made, ...about, reused: true, fetched: true, elsewhere: true };
    if (!(await remote?.bring(made, title))) return undefined;
    await store.remember(made);
    await rm(store.workPath(key), { recursive: true, force: true }); // an attempt that nobody will go on with
    return { ...made, ...about, reused: true, fetched: true };
  };
  return { key, compute, about, known, fetched };
}

/** Runs a stage's function. Its log is closed when it ends: what it wrote is hashed next, and not written to again. */
export async function runLogged<C, I extends InputSpecs>(
  stage: Stage<C, I>,
  config: C,
  inputs: Inputs<I>,
  to: {
    readonly out: string;
    readonly files: StageFiles;
    readonly title: string;
    readonly stream: NodeJS.WriteStream;
    readonly signal: AbortSignal;
    readonly compute: Compute | undefined;
  },
): Promise<Facts> {
  const { out, files, signal, compute } = to;
  using log = openLog({ name: to.title, stream: to.stream, file: join(out, "logs", "events.jsonl") });
  const work = (): Promise<Facts> => stage.run(config, inputs, { out, files, signal, log });
  const facts = await (stage.computing && compute ? stage.computing.within(compute, work) : work());
  signal.throwIfAborted();
  return facts;
}

/**
 * What a stage reads is what its key names only if nobody writes to it meanwhile.
 *
 * @throws {DataError} Naming the file of an input that was changed.
 */
export async function assertInputsUnchanged(inputs: Readonly<Record<string, Artifact | undefined>>): Promise<void> {
  for (const [name, input] of Object.entries(inputs)) {
    const [first] = (await input?.changed()) ?? [];
    if (first !== undefined)
      throw new DataError(
        `${JSON.stringify(first)} of the input "${name}" was changed while it was read; the same command again starts from what is there then`,
      );
  }
}

/**
 * The same for what it reads outside. Looking at it takes too long for each file that is finished, so all of them are
 * forgotten.
 *
 * @throws {DataError} Naming the place that was changed.
 */
export async function assertOutsideUnchanged(outside: readonly OutsideState[], files: StageFiles): Promise<void> {
  for (const [i, now] of (await lookAgain(outside)).entries()) {
    if (outsideDigest([now]) === outsideDigest(outside.slice(i, i + 1))) continue;
    await files.dropAll();
    throw new DataError(
      `${JSON.stringify(now.path)} was changed while it was read; the same command again starts from what is there then`,
    );
  }
}

/** The logs of a stage, by their names; what it finished is listed in one of them. */
export async function logsOf(
  out: string,
  take: (path: string) => Promise<ObjectRef>,
): Promise<Record<string, ObjectRef>> {
  const logs: Record<string, ObjectRef> = {};
  for (const file of await listFiles(join(out, "logs"))) logs[`logs/${file}`] = await take(join(out, "logs", file));
  return logs;
}

/** How many files were lost, and one of them. */
export function lostOf(files: readonly string[]): string {
  const [first] = files;
  return files.length === 1
    ? `${first} was damaged or lost`
    : `${files.length} files were damaged or lost, such as ${first}`;
}

/** Stage and digest of each input, as records hold them. */
export function digestsOf(inputs: Readonly<Record<string, Artifact | undefined>>): StageRecord["inputs"] {
  const known = Object.entries(inputs).flatMap(([name, input]) =>
    input ? [[name, { stage: input.manifest.stage, digest: input.digest }] as const] : [],
  );
  return Object.fromEntries(known);
}

/**
 * Where a key is known but some of its objects are not whole, the others are put back into the stage's folder with the
 * list of what was finished, and the stage makes the rest. Copies, because a stage may append to its files.
 */
async function restoreWhole(store: Store, key: Digest, out: string, say: (message: string) => void): Promise<void> {
  const made = await store.lookup(key);
  if (!made || (await exists(join(out, FINISHED_FILE)))) return; // an attempt that was interrupted has done so before
  const list = made.record.logs[FINISHED_FILE];
  const broken = new Set(await store.missing(made.manifest, true));
  say(`${broken.size} of ${Object.keys(made.manifest.files).length} files were missing or damaged, making them again`);
  const wanted = Object.entries(made.manifest.files).filter(([file]) => !broken.has(file));
  for (const [file, ref] of list ? [...wanted, [FINISHED_FILE, list] as const] : []) {
    if (!(await store.intact(ref, true))) continue;
    const target = join(out, file);
    await mkdir(dirname(target), { recursive: true });
    await copyFile(store.objectPath(ref.sha256), target, constants.COPYFILE_FICLONE);
    await chmod(target, 0o644);
  }
}

/**
 * An attempt that was killed while its files became objects left second names of these: they become files of their own.
 */
async function unshare(out: string): Promise<void> {
  for (const file of await listFiles(out)) {
    const path = join(out, file);
    if ((await stat(path)).nlink === 1) continue;
    const copy = join(out, "tmp", "unshared");
    await copyFile(path, copy, constants.COPYFILE_FICLONE);
    await chmod(copy, 0o644);
    await rename(copy, path);
  }
}

/** Takes a file into the store by way of a copy: the file itself stays as it is. */
async function keepCopy(store: Store, file: string, copy: string): Promise<void> {
  await copyFile(file, copy, constants.COPYFILE_FICLONE);
  await store.add(copy);
}

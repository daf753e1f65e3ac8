import { constants } from "node:fs";
import { chmod, copyFile, mkdir, rm } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import {
  canonicalJson,
  listFiles,
  sha256,
  takeLock,
  type Artifact,
  type Digest,
  type Made,
  type Manifest,
  type StageRecord,
  type Store,
} from "@madformer/artifacts";
import { recordOf, Stopwatch } from "./attempt.js";
import { duration, openLog } from "./log.js";
import type { Facts, Inputs, InputSpecs, Stage } from "./stage.js";

/** All code that a stage can run. */
export interface Program {
  /** Digest of its bundle. */
  readonly sha256: Digest;
  /** npm packages it uses, `name@version`. */
  readonly externals: readonly string[];
  /** The bundle's file; it is kept in the store, so that what ran can be read again and compared. */
  readonly path?: string;
}

export interface RunOptions {
  readonly program: Program;
  readonly store: Store;
  readonly signal: AbortSignal;
  /** Name shown in front of lines; the stage's own by default. */
  readonly title?: string;
  readonly stream?: NodeJS.WriteStream;
}

/**
 * The digest of everything that decides what a stage makes: its program, its complete config, and the content (not the
 * history) of its inputs.
 *
 * @param outside The stage's fingerprint of what it reads besides.
 */
export function stageKey(
  stage: Pick<Stage, "name">,
  program: Program,
  config: unknown,
  inputs: Readonly<Record<string, Artifact | undefined>>,
  outside?: string,
): Digest {
  const digests = Object.entries(inputs).flatMap(([name, input]) => (input ? [[name, input.digest] as const] : []));
  return sha256(
    canonicalJson({
      stage: stage.name,
      program: program.sha256,
      config,
      inputs: Object.fromEntries(digests),
      ...(outside === undefined ? {} : { outside }),
    }),
  );
}

/**
 * Makes what a stage makes, or finds it in the store. Nothing is computed twice: a known key whose objects are whole is
 * answered at once; where some objects are missing or damaged, the stage goes on from those that are whole; what an
 * interrupted attempt left is used. Of two processes that want the same, one works and the other waits for it.
 *
 * @param config Complete, as parsed by the stage's schema.
 * @returns What was made, and whether it was there already.
 * @throws What the stage throws; `signal.reason` if aborted. Its work is kept.
 */
export async function runStage<C, I extends InputSpecs>(
  stage: Stage<C, I>,
  config: C,
  inputs: Inputs<I>,
  options: RunOptions,
): Promise<Made & { readonly reused: boolean }> {
  const { program, store, signal, title = stage.name } = options;
  const key = stageKey(stage, program, config, inputs, await stage.fingerprint?.(config));
  const stream = options.stream ?? process.stderr;
  const say = (message: string): void => void stream.write(`${title}: ${message}\n`);

  const known = async (): Promise<Made | undefined> => {
    const made = await store.lookup(key);
    return made && (await store.missing(made.manifest)).length === 0 ? made : undefined;
  };
  const found = await known();
  if (found) return { ...found, reused: true };

  const work = store.workPath(key);
  await using _lock = await takeLock(`${work}.lock`, { signal, onWait: say });
  const since = await known(); // another process may have made it while this one waited
  if (since) return { ...since, reused: true };

  const out = join(work, "out");
  await mkdir(out, { recursive: true });
  await restoreWhole(store, key, out, say);
  await using watch = await Stopwatch.start(join(work, "attempt.json"));
  const { attempts } = watch.read();
  say(`${attempts > 1 ? `going on with attempt ${attempts}` : "working"} in ${relative(".", out)}`);
  const facts = await runLogged(stage, config, inputs, out, { title, stream, signal });

  const manifest = await collect(stage.name, facts, out, store);
  const logs: Record<string, { sha256: string; bytes: number }> = {};
  for (const file of await listFiles(out, [...Object.keys(manifest.files), "tmp"]))
    logs[file] = await store.add(join(out, file));
  if (program.path !== undefined) await keepCopy(store, program.path, join(work, "program.mjs"));
  const record = recordOf(manifest, watch, { key, program, config, inputs: digestsOf(inputs), logs });
  await store.remember({ manifest, record });
  await rm(work, { recursive: true, force: true });
  say(`done in ${duration(record.seconds)}`);
  return { manifest, record, reused: false };
}

/** Runs a stage's function. Its log is closed when it ends: what it wrote is hashed next, and not written to again. */
export async function runLogged<C, I extends InputSpecs>(
  stage: Stage<C, I>,
  config: C,
  inputs: Inputs<I>,
  out: string,
  to: { readonly title: string; readonly stream: NodeJS.WriteStream; readonly signal: AbortSignal },
): Promise<Facts> {
  using log = openLog({ name: to.title, stream: to.stream, file: join(out, "logs", "events.jsonl") });
  const facts = await stage.run(config, inputs, { out, signal: to.signal, log });
  to.signal.throwIfAborted();
  return facts;
}

/** Stage and digest of each input, as records hold them. */
export function digestsOf(inputs: Readonly<Record<string, Artifact | undefined>>): StageRecord["inputs"] {
  const known = Object.entries(inputs).flatMap(([name, input]) =>
    input ? [[name, { stage: input.manifest.stage, digest: input.digest }] as const] : [],
  );
  return Object.fromEntries(known);
}

/**
 * Where a key is known but some of its objects are not whole, the others are put back into the stage's folder, and the
 * stage makes the rest. Copies, because a stage may append to its files.
 */
async function restoreWhole(store: Store, key: Digest, out: string, say: (message: string) => void): Promise<void> {
  const made = await store.lookup(key);
  if (!made) return;
  const broken = new Set(await store.missing(made.manifest, true));
  say(`${broken.size} of ${Object.keys(made.manifest.files).length} files were missing or damaged, making them again`);
  for (const [file, ref] of Object.entries(made.manifest.files)) {
    if (broken.has(file)) continue;
    const target = join(out, file);
    await mkdir(dirname(target), { recursive: true });
    await copyFile(store.objectPath(ref.sha256), target, constants.COPYFILE_FICLONE);
    await chmod(target, 0o644);
  }
}

/** Takes a file into the store by way of a copy: the file itself stays as it is. */
async function keepCopy(store: Store, file: string, copy: string): Promise<void> {
  await copyFile(file, copy, constants.COPYFILE_FICLONE);
  await store.add(copy);
}

/** Takes a stage's files into the store and writes down what they are. */
async function collect(stage: string, facts: Facts, out: string, store: Store): Promise<Manifest> {
  const files: Record<string, { sha256: string; bytes: number }> = {};
  for (const file of await listFiles(out, ["logs", "tmp"])) files[file] = await store.add(join(out, file));
  return { format: 1, stage, facts: { ...facts }, files };
}

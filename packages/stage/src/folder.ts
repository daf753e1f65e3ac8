import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import {
  canonicalJson,
  digestFile,
  isConsistent,
  listFiles,
  MANIFEST_FILE,
  manifestText,
  prettyJson,
  readManifest,
  readRecord,
  RECORD_FILE,
  sha256,
  takeLock,
  writeText,
  type Made,
} from "@madformer/artifacts";
import { recordOf, Stopwatch } from "./attempt.js";
import { computeOf, type ComputeWords } from "./compute.js";
import { ConfigError } from "./config.js";
import { finishedFiles, StageFiles } from "./files.js";
import { duration } from "./log.js";
import { lookOutside, outsideDigest } from "./outside.js";
import {
  assertInputsUnchanged,
  assertOutsideUnchanged,
  digestsOf,
  logsOf,
  lostOf,
  runLogged,
  type BundleDigest,
} from "./run.js";
import type { Inputs, InputSpecs, Stage } from "./stage.js";

/** Says what is being made in a folder, from the first moment on. */
export const STATE_FILE = ".madformer.json";

export interface FolderOptions {
  readonly program: BundleDigest;
  readonly signal: AbortSignal;
  /** What the stage is to compute with; the environment stands behind it. */
  readonly compute?: ComputeWords;
  readonly stream?: NodeJS.WriteStream;
}

/**
 * Runs a stage without a pipeline: its files go to a folder, where people want them. The same command again goes on
 * where it was interrupted, or finds everything done: then every file has been hashed. Files that are damaged are made
 * again.
 *
 * @throws {ConfigError} If the folder holds something else: names what differs; or there is no such engine.
 * @throws {DataError} If a finished file, an input or something outside was changed while the stage ran.
 */
export async function runInFolder<C, I extends InputSpecs>(
  stage: Stage<C, I>,
  config: C,
  inputs: Inputs<I>,
  folder: string,
  { program, signal: asked, compute: words, stream = process.stderr }: FolderOptions,
): Promise<Made & { readonly reused: boolean }> {
  const compute = computeOf(stage, words);
  const out = resolve(folder);
  await mkdir(out, { recursive: true });
  const say = (message: string): void => void stream.write(`${stage.name}: ${message}\n`);
  await using lock = await takeLock(join(out, ".lock"), { signal: asked, onWait: say });
  const signal = AbortSignal.any([asked, lock.signal]);
  const states = await lookOutside(stage.outside?.(config) ?? []);
  const outside = outsideDigest(states);
  const wanted = {
    stage: stage.name,
    config,
    inputs: digestsOf(inputs),
    ...(outside === undefined ? {} : { outside }),
    ...(compute === undefined ? {} : { compute }),
  };
  await claim(out, folder, wanted, stage, (before) => stage.goesOn?.(before, config));

  const before = await finishedBefore(out);
  if (before?.broken.length === 0) return { ...before.made, reused: true };
  if (before) say(`${lostOf(before.broken)}, making ${before.broken.length === 1 ? "it" : "them"} again`);
  await rm(join(out, MANIFEST_FILE), { recursive: true, force: true }); // its presence means complete

  await using watch = await Stopwatch.start(join(out, "tmp", "attempt.json"));
  await using files = await StageFiles.open(out, () => assertInputsUnchanged(inputs));
  if (files.lost.length > 0 && !before) say(`${lostOf(files.lost)} since the attempt before, making them again`);
  const facts = await runLogged(stage, config, inputs, { out, files, title: stage.name, stream, signal, compute });
  await assertInputsUnchanged(inputs);
  await assertOutsideUnchanged(states, files);

  const made = { format: 1 as const, stage: stage.name, facts: { ...facts }, files: await files.collect(digestFile) };
  const logs = await logsOf(out, digestFile);
  const key = sha256(canonicalJson({ ...wanted, program: program.sha256 }));
  const how = recordOf(made, watch, { key, program, config, inputs: wanted.inputs, outside, compute, logs });
  await lock.assertHeld();
  await writeText(join(out, RECORD_FILE), prettyJson(how));
  await writeText(join(out, MANIFEST_FILE), manifestText(made)); // last
  say(`done in ${duration(how.seconds)}`);
  return { manifest: made, record: how, reused: false };
}

/** What an earlier run completed, and what of it is not as it was; undefined if none did. */
async function finishedBefore(out: string): Promise<{ made: Made; broken: string[] } | undefined> {
  const [manifest, record] = await Promise.all([readManifest(out), readRecord(out)]).catch(() => []);
  if (!manifest || !record) return undefined;
  const made = { manifest, record };
  if (!isConsistent(made)) return { made, broken: [MANIFEST_FILE] };
  const broken: string[] = [];
  for (const [file, { sha256: expected }] of Object.entries(manifest.files)) {
    const found = await digestFile(join(out, file)).catch(() => undefined);
    if (found?.sha256 !== expected) broken.push(file);
  }
  return { made, broken };
}

/** What is made in a folder, as its state file says. */
interface Claim {
  readonly stage: string;
  readonly config: unknown;
  readonly inputs: object;
  readonly outside?: string;
  readonly compute?: object;
}

/**
 * Notes in the folder what is made there; refuses one that holds something else. A command that failed before it
 * finished a file holds nothing, nor do a stage's notes.
 *
 * @param stage Says which fields of the config may be others, and which files are notes.
 * @param goesOn Whether what was made with another config can go on to this one, or why not.
 */
async function claim(
  out: string,
  folder: string,
  wanted: Claim,
  { free = [], notes = [] }: Pick<Stage, "free" | "notes">,
  goesOn: (before: unknown) => true | string | undefined,
): Promise<void> {
  const path = join(out, STATE_FILE);
  const text = await readFile(path, "utf8").catch(() => undefined);
  if (text === undefined) {
    const names = (await readdir(out)).filter((name) => name !== ".lock" && !/^\..*\.tmp$/.test(name)); // of locks
    if (names.length > 0)
      throw new ConfigError(
        `Cannot write to ${JSON.stringify(folder)}: it holds ${names.length === 1 ? "a file" : `${names.length} files`} that no stage made ` +
          `(${names.slice(0, 3).join(", ")}); name a new or an empty folder`,
      );
    await mkdir(join(out, "tmp"), { recursive: true });
    await writeText(path, `${JSON.stringify(wanted, null, 2)}\n`);
    return;
  }
  let there: unknown;
  try {
    there = JSON.parse(text);
  } catch {
    throw new ConfigError(
      `Cannot write to ${JSON.stringify(folder)}: its ${STATE_FILE}, which says what it holds, is damaged; name another folder, or remove this one`,
    );
  }
  const now = JSON.parse(JSON.stringify(wanted)) as Claim;
  const before = withFree(there, now, free);
  const differences = differ(before, now);
  if (differences.length > 0 && (await holdsNothing(out, notes))) {
    for (const name of ["tmp", "logs", ...notes]) await rm(join(out, name), { recursive: true, force: true });
  } else if (differences.length > 0) {
    const ofConfig = differences.every((difference) => difference.startsWith("config."));
    const answer = ofConfig ? goesOn((before as Claim).config) : undefined;
    if (answer !== true)
      throw new ConfigError(
        `Cannot write to ${JSON.stringify(folder)}: it holds the output of another command (${differences.slice(0, 4).join("; ")}` +
          `${answer === undefined ? "" : `: ${answer}`}); name another folder, or remove this one`,
      );
    await rm(join(out, MANIFEST_FILE), { recursive: true, force: true }); // first: it is of the config before
  }
  if (differ(there, now).length > 0) await writeText(path, `${JSON.stringify(wanted, null, 2)}\n`);
  await mkdir(join(out, "tmp"), { recursive: true });
}

/** What a state file says, with the free fields of what is wanted now. */
function withFree(there: unknown, { config: now }: Claim, free: readonly string[]): unknown {
  const config = isObject(there) ? there["config"] : undefined;
  if (!isObject(there) || !isObject(config) || !isObject(now)) return there;
  const others = Object.entries(config).filter(([name]) => !free.includes(name));
  const taken = Object.entries(now).filter(([name]) => free.includes(name));
  return { ...there, config: Object.fromEntries([...others, ...taken]) };
}

/**
 * Whether a folder holds no file that is finished, and none that a stage did not make: only notes about a run that
 * failed.
 */
async function holdsNothing(out: string, notes: readonly string[]): Promise<boolean> {
  const finished = await finishedFiles(out);
  const own = finished.filter((file) => notes.includes(file));
  const files = await listFiles(out, [...NOTES, ...own]).catch(() => undefined); // a link, say: not of a stage
  return files?.length === 0 && finished.length === own.length;
}

/** What is in a folder beside what its stage makes, before that is complete. */
const NOTES = [STATE_FILE, ".lock", "logs", "tmp"];

/** Where two JSON values differ: `config.steps: 20, now 25`. */
export function differ(before: unknown, now: unknown, path = ""): string[] {
  if (canonicalJson(before ?? null) === canonicalJson(now ?? null)) return [];
  if (!isObject(before) || !isObject(now)) return [`${path === "" ? "it" : path}: ${shown(before)}, now ${shown(now)}`];
  return [...new Set([...Object.keys(before), ...Object.keys(now)])].flatMap((key) =>
    differ(before[key], now[key], path === "" ? key : `${path}.${key}`),
  );
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function shown(value: unknown): string {
  const text = value === undefined ? "nothing" : JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

import { mkdir, readdir, readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import {
  canonicalJson,
  digestFile,
  listFiles,
  MANIFEST_FILE,
  manifestOf,
  manifestText,
  readManifest,
  readRecord,
  RECORD_FILE,
  sha256,
  takeLock,
  writeText,
  type Made,
  type StageRecord,
} from "@madformer/artifacts";
import { recordOf, Stopwatch } from "./attempt.js";
import { ConfigError } from "./config.js";
import { duration } from "./log.js";
import { digestsOf, runLogged, type Program } from "./run.js";
import type { Inputs, InputSpecs, Stage } from "./stage.js";

/** Says what is being made in a folder, from the first moment on. */
const STATE_FILE = ".madformer.json";

export interface FolderOptions {
  readonly program: Program;
  readonly signal: AbortSignal;
  readonly stream?: NodeJS.WriteStream;
}

/**
 * Runs a stage without a pipeline: its files go to a folder, where people want them. The same command again goes on where
 * it was interrupted, or finds everything done.
 *
 * @throws {ConfigError} If the folder holds something else: names what differs.
 */
export async function runInFolder<C, I extends InputSpecs>(
  stage: Stage<C, I>,
  config: C,
  inputs: Inputs<I>,
  folder: string,
  { program, signal, stream = process.stderr }: FolderOptions,
): Promise<Made & { readonly reused: boolean }> {
  const out = resolve(folder);
  await mkdir(out, { recursive: true });
  await using _lock = await takeLock(join(out, ".lock"), {
    signal,
    onWait: (message) => void stream.write(`${message}\n`),
  });
  const outside = await stage.fingerprint?.(config);
  const wanted = {
    stage: stage.name,
    config,
    inputs: digestsOf(inputs),
    ...(outside === undefined ? {} : { outside }),
  };
  await claim(out, folder, wanted);

  const [manifest, record] = [await readManifest(out), await readRecord(out)];
  if (manifest && record && (await isWhole(out, manifest))) return { manifest, record, reused: true };

  await using watch = await Stopwatch.start(join(out, "tmp", "attempt.json"));
  const facts = await runLogged(stage, config, inputs, out, { title: stage.name, stream, signal });

  const made = await manifestOf(out, stage.name, { ...facts });
  const logs: StageRecord["logs"] = {};
  for (const file of await listFiles(join(out, "logs")))
    logs[`logs/${file}`] = await digestFile(join(out, "logs", file));
  const key = sha256(canonicalJson({ ...wanted, program: program.sha256 }));
  const how = recordOf(made, watch, { key, program, config, inputs: wanted.inputs, logs });
  await writeText(join(out, RECORD_FILE), `${JSON.stringify(how, null, 2)}\n`);
  await writeText(join(out, MANIFEST_FILE), manifestText(made)); // last: its presence means complete
  stream.write(`${stage.name}: done in ${duration(how.seconds)}\n`);
  return { manifest: made, record: how, reused: false };
}

/** Notes in the folder what is made there; refuses one that holds something else. */
async function claim(out: string, folder: string, wanted: object): Promise<void> {
  const path = join(out, STATE_FILE);
  const text = await readFile(path, "utf8").catch(() => undefined);
  if (text === undefined) {
    const names = (await readdir(out)).filter((name) => name !== ".lock");
    if (names.length > 0)
      throw new ConfigError(
        `Cannot write to ${JSON.stringify(folder)}: it holds ${names.length === 1 ? "a file" : `${names.length} files`} that no stage made ` +
          `(${names.slice(0, 3).join(", ")}); name a new or an empty folder`,
      );
    await mkdir(join(out, "tmp"), { recursive: true });
    await writeText(path, `${JSON.stringify(wanted, null, 2)}\n`);
    return;
  }
  const differences = differ(safeJson(text), JSON.parse(JSON.stringify(wanted)));
  if (differences.length > 0)
    throw new ConfigError(
      `Cannot write to ${JSON.stringify(folder)}: it holds the output of another command (${differences.slice(0, 4).join("; ")}); ` +
        "name another folder, or remove this one",
    );
  await mkdir(join(out, "tmp"), { recursive: true });
}

async function isWhole(out: string, manifest: Made["manifest"]): Promise<boolean> {
  for (const [file, { sha256: expected }] of Object.entries(manifest.files)) {
    const found = await digestFile(join(out, file)).catch(() => undefined);
    if (found?.sha256 !== expected) return false;
  }
  return true;
}

function safeJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Where two JSON values differ: `config.steps: 20, now 25`. */
export function differ(before: unknown, now: unknown, path = ""): string[] {
  if (canonicalJson(before ?? null) === canonicalJson(now ?? null)) return [];
  const objects = [before, now].every((value) => typeof value === "object" && value !== null && !Array.isArray(value));
  if (!objects) return [`${path === "" ? "it" : path}: ${shown(before)}, now ${shown(now)}`];
  const [a, b] = [before as Record<string, unknown>, now as Record<string, unknown>];
  return [...new Set([...Object.keys(a), ...Object.keys(b)])].flatMap((key) =>
    differ(a[key], b[key], path === "" ? key : `${path}.${key}`),
  );
}

function shown(value: unknown): string {
  const text = value === undefined ? "nothing" : JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

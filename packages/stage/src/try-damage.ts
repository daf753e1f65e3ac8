import { cp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Writable } from "node:stream";
import { digestFile, listFiles, MANIFEST_FILE, manifestDigest, sha256, type Manifest } from "@madformer/artifacts";
import { runInFolder } from "./folder.js";
import type { Inputs, InputSpecs, Stage } from "./stage.js";

/** A stage, what it is run with, and when it is interrupted. */
export interface DamageTrial<C, I extends InputSpecs> {
  readonly stage: Stage<C, I>;
  readonly config: C;
  readonly inputs: Inputs<I>;
  /**
   * One run is interrupted when the stage has spoken so often, lines and reports of progress together. Without it, none
   * is.
   */
  readonly stopAfter?: number;
}

export interface DamageResult {
  /** Files of the artifact, sorted. */
  readonly files: readonly string[];
  /** Files that the interrupted run left, sorted; those in `tmp/` among them. */
  readonly left: readonly string[];
  /** What went otherwise than it should, in words; nothing if the stage keeps its promise. */
  readonly problems: readonly string[];
}

/** Files in a stage's folder that are none of its own. */
const OF_THE_RUNNER = [".madformer.json", "tmp/attempt.json"];

/**
 * Tries what a stage promises, for tests of stages: whatever happens to its files, the same command again makes the
 * same manifest, and makes nothing twice that is whole. Of each file of a finished run one bit is flipped, then it is
 * removed; of each file that an interrupted run left, one bit is flipped.
 *
 * @param folder Empty; the runs lie below it.
 * @throws What the stage throws where nobody disturbs it.
 */
export async function tryDamage<C, I extends InputSpecs>(
  { stage, config, inputs, stopAfter }: DamageTrial<C, I>,
  folder: string,
): Promise<DamageResult> {
  const [out, cut, copy] = ["whole", "cut", "copy"].map((name) => join(folder, name)) as [string, string, string];
  const run = async (to: string, stop?: number): Promise<Manifest> => {
    const stopping = new AbortController();
    const speaks = spokenTo(stage, (times) => times === stop && stopping.abort(new Error("interrupted")));
    const options = { program: { sha256: sha256(""), externals: [] }, signal: stopping.signal, stream: nowhere() };
    return (await runInFolder(speaks, config, inputs, to, options)).manifest;
  };
  const whole = await run(out);
  const digest = manifestDigest(whole);
  const files = Object.keys(whole.files).sort();
  const problems: string[] = [];
  const expectSame = async (to: string, what: string): Promise<void> => {
    const found = await run(to).then(manifestDigest, (error: Error) => error.message);
    if (found !== digest) problems.push(`${what}: ${found}, expected manifest ${digest}`);
  };

  for (const file of [...files, MANIFEST_FILE]) {
    await flipBit(join(out, file));
    await expectSame(out, `one bit of ${file} flipped`);
    await rm(join(out, file));
    await expectSame(out, `${file} removed`);
  }
  if (stopAfter === undefined) return { files, left: [], problems };

  const ended = await run(cut, stopAfter).then(manifestDigest, (error: Error) => error.message);
  if (ended !== "interrupted") problems.push(`interrupted after ${stopAfter} reports: ${ended}`);
  const left = (await listFiles(cut, ["logs"])).filter((file) => !OF_THE_RUNNER.includes(file));
  for (const file of left) {
    await cp(cut, copy, { recursive: true });
    await flipBit(join(copy, file));
    await expectSame(copy, `interrupted, then one bit of ${file} flipped`);
    await rm(copy, { recursive: true });
  }
  const before = new Map<string, string>();
  for (const file of left)
    if ((await digestFile(join(cut, file))).sha256 === whole.files[file]?.sha256)
      before.set(file, await identityOf(join(cut, file)));
  await expectSame(cut, "interrupted");
  for (const [file, identity] of before)
    if ((await identityOf(join(cut, file))) !== identity) problems.push(`${file} was whole, and made again`);
  return { files, left, problems };
}

/** Tells how often the stage has spoken. */
function spokenTo<C, I extends InputSpecs>(stage: Stage<C, I>, onSpoken: (times: number) => void): Stage<C, I> {
  let times = 0;
  return {
    ...stage,
    run: (config, inputs, context) => {
      const { log } = context;
      const then = (): void => onSpoken(++times);
      return stage.run(config, inputs, {
        ...context,
        log: {
          info: (message) => (log.info(message), then()),
          warn: (message) => (log.warn(message), then()),
          progress: (...report) => (log.progress(...report), then()),
        },
      });
    },
  };
}

/** Near the middle; of a float32 there, in the exponent, so that numbers feel it. A file without bytes gets one. */
async function flipBit(path: string): Promise<void> {
  const bytes = await readFile(path);
  const at = Math.min((bytes.length >> 1) | 3, bytes.length - 1);
  if (bytes.length > 0) bytes[at] = (bytes[at] as number) ^ 0x40;
  await writeFile(path, bytes.length > 0 ? bytes : "x");
}

/** Changes when a file is written, even with the same bytes. */
async function identityOf(path: string): Promise<string> {
  const { ino, mtimeNs } = await stat(path, { bigint: true });
  return `${ino} ${mtimeNs}`;
}

function nowhere(): NodeJS.WriteStream {
  return new Writable({ write: (_chunk, _encoding, done) => done() }) as unknown as NodeJS.WriteStream;
}

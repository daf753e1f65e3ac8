import { readFile } from "node:fs/promises";
import { cpus } from "node:os";
import { manifestDigest, sealRecord, writeText, type Manifest, type StageRecord } from "@madformer/artifacts";
import { z } from "zod";
import type { Compute } from "./compute.js";

const Attempt = z.object({
  startedAt: z.iso.datetime(),
  seconds: z.number(),
  attempts: z.int(),
  peakMemoryBytes: z.int(),
});
type Attempt = z.infer<typeof Attempt>;

/** Seconds between two notes of how long a stage has run: what a killed attempt leaves uncounted, at most. */
const NOTE_SECONDS = 5;

/**
 * Counts time and memory of a stage over all attempts at it: noted in a file every few seconds, because a process that
 * is killed cannot say how long it ran.
 */
export class Stopwatch implements AsyncDisposable {
  private readonly begun = performance.now();
  private readonly timer: NodeJS.Timeout;
  private writing: Promise<void> = Promise.resolve();

  private constructor(
    private readonly path: string,
    private readonly earlier: Attempt,
  ) {
    this.timer = setInterval(() => this.note(), NOTE_SECONDS * 1000).unref();
  }

  static async start(path: string): Promise<Stopwatch> {
    const text = await readFile(path, "utf8").catch(() => undefined);
    const fresh: Attempt = { startedAt: new Date().toISOString(), seconds: 0, attempts: 0, peakMemoryBytes: 0 };
    let earlier = fresh;
    try {
      if (text !== undefined) earlier = Attempt.parse(JSON.parse(text));
    } catch {
      // damaged: it only counts seconds
    }
    const watch = new Stopwatch(path, { ...earlier, attempts: earlier.attempts + 1 });
    await writeText(path, JSON.stringify(watch.read()));
    return watch;
  }

  read(): Attempt {
    const { startedAt, attempts, seconds, peakMemoryBytes } = this.earlier;
    return {
      startedAt,
      attempts,
      seconds: seconds + (performance.now() - this.begun) / 1000,
      peakMemoryBytes: Math.max(peakMemoryBytes, process.resourceUsage().maxRSS * 1024),
    };
  }

  /** Writes no more notes from now on: where they lie may be removed. */
  async stop(): Promise<void> {
    clearInterval(this.timer);
    await this.writing;
  }

  private note(): void {
    this.writing = this.writing.then(() => writeText(this.path, JSON.stringify(this.read()))).catch(() => undefined);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.note();
    await this.stop();
  }
}

/** What a record says that only its caller knows. */
export interface Told {
  readonly key: string;
  readonly program: { readonly sha256: string; readonly externals: readonly string[] };
  readonly config: unknown;
  readonly inputs: StageRecord["inputs"];
  readonly outside: string | undefined;
  readonly compute: Compute | undefined;
  readonly logs: StageRecord["logs"];
}

/** The record of a stage that has just made what a manifest lists. */
export function recordOf(
  manifest: Manifest,
  watch: Stopwatch,
  { key, program, config, inputs, outside, compute, logs }: Told,
): StageRecord {
  return sealRecord({
    format: 1,
    stage: manifest.stage,
    key,
    program: { sha256: program.sha256, externals: [...program.externals] },
    config: config as StageRecord["config"],
    inputs,
    ...(outside === undefined ? {} : { outside }),
    ...(compute === undefined ? {} : { compute }),
    manifest: manifestDigest(manifest),
    ...watch.read(),
    finishedAt: new Date().toISOString(),
    machine: machine(),
    logs,
  });
}

/** The machine, as records name it. */
function machine(): StageRecord["machine"] {
  const all = cpus();
  return {
    cpu: all[0]?.model.trim() ?? "unknown",
    cores: all.length,
    node: process.version,
    platform: `${process.platform}-${process.arch}`,
  };
}

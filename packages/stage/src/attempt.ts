import { readFile } from "node:fs/promises";
import { cpus } from "node:os";
import { writeText } from "@madformer/artifacts";
import { z } from "zod";

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
 * Counts time and memory of a stage over all attempts at it: noted in a file every few seconds, because a process that is
 * killed cannot say how long it ran.
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

  private note(): void {
    this.writing = this.writing.then(() => writeText(this.path, JSON.stringify(this.read()))).catch(() => undefined);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.timer);
    this.note();
    await this.writing;
  }
}

/** The machine, as records name it. */
export function machine(): { cpu: string; cores: number; node: string; platform: string } {
  const all = cpus();
  return {
    cpu: all[0]?.model.trim() ?? "unknown",
    cores: all.length,
    node: process.version,
    platform: `${process.platform}-${process.arch}`,
  };
}

import { rmSync } from "node:fs";
import { mkdtemp, readdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ConfigError, duration, guarded } from "@madformer/stage";
import { isRun, jobsOf, runJobs, titleOf, type Job, type PlannedJob, type SweepRun } from "@madformer/sweep";
import { ExitCode } from "../exit.js";
import type { Io } from "../program.js";
import { runStageProcess } from "./child.js";
import { knowingOf, type OpenSweep } from "./open.js";
import { count, lookAhead, timeText } from "./plan.js";
import { openScreen } from "./screen.js";

export interface RunOptions {
  readonly parallel: number;
  /** Only this point. */
  readonly point?: string | undefined;
}

/**
 * Runs all points of a sweep, or one of them, whatever of them is not there yet.
 *
 * @returns What was run. Ends with exit code 130 if interrupted.
 */
export async function runSweep(open: OpenSweep, { parallel, point }: RunOptions, io: Io): Promise<SweepRun> {
  const { sweep, folder } = open;
  const runs = point === undefined ? open.runs : [pointOf(open, point)];
  const jobs = point === undefined ? open.jobs : jobsOf(runs); // of no other point, whose folder may not be there
  let result: SweepRun | undefined;
  const work = async (signal: AbortSignal): Promise<void> => {
    // What of the remote store does not work is said by one of the stages' processes.
    const scratch = await mkdtemp(join(tmpdir(), "sweep-"));
    process.once("exit", () => rmSync(scratch, { recursive: true, force: true }));
    process.env["MADFORMER_REMOTE_TROUBLE"] = join(scratch, "trouble");
    const knowing = await knowingOf(jobs);
    const planned = await lookAhead(jobs, knowing, signal, io);
    using screen = openScreen(sweep.name, io);
    const say = (line: string): void => screen.line(line);
    say(
      `${sweep.name}: ${count(runs.length, "point")}, ${count(jobs.length, "stage")}. ${timeText(planned, parallel)}`,
    );
    for (const stale of await staleOf(open))
      say(`${sweep.name}: ${stale} is of a point that there is no more; remove it if you like`);
    const progress = new Progress(planned, runs.length, parallel);
    result = await runJobs(runs, jobs, {
      ...knowing,
      ...{ folder, parallel, signal, defaults: open.defaults },
      execute: async (at, stage, title) =>
        await runStageProcess(at, stage, { signal, say: (line) => screen.ofStage(pointsOf(title), line) }),
      onJob: (job, end) => {
        progress.end(job);
        const { done, points } = progress;
        const far = { done, total: jobs.length, points };
        if (end !== "reused" || progress.isDone)
          screen.ended(`${sweep.name}: ${titleOf(job)} ${end}; ${progress.text()}`, far, end === "failed");
      },
    });
    for (const { point: name, stage, reason } of result.failed)
      say(`${sweep.name}: ${name} failed at ${stage}: ${reason}`);
  };
  const code = await guarded(sweep.name, work, { write: (text: string) => io.err(text) } as never);
  if (code !== 0 || result === undefined) throw new ExitCode(code);
  return result;
}

/** `train of 3 points` -> `3 points` */
const pointsOf = (title: string): string => title.replace(/^.* of /, "");

function pointOf({ sweep, runs }: OpenSweep, name: string) {
  const run = runs.find((one) => one.name === name);
  if (run) return run;
  throw new ConfigError(
    `The sweep "${sweep.name}" has no point ${JSON.stringify(name)}, expected one of: ${runs.map((one) => one.name).join(", ")}`,
  );
}

/** Folders of points that the sweep's file does not name any more. */
async function staleOf({ folder, runs }: OpenSweep): Promise<string[]> {
  const there = await readdir(join(folder, "pipelines"), { withFileTypes: true }).catch(() => []);
  const folders = there.flatMap((entry) => (entry.isDirectory() ? [entry.name] : []));
  return folders
    .filter((name) => !runs.some((run) => run.name === name))
    .map((name) => join(folder, "pipelines", name));
}

/** How far a sweep is, over all its points. */
class Progress {
  private readonly begun = performance.now();
  private readonly open: Set<Job>;

  constructor(
    private readonly planned: readonly PlannedJob[],
    private readonly pointCount: number,
    private readonly parallel: number,
  ) {
    this.open = new Set(planned.map(({ job }) => job));
  }

  get isDone(): boolean {
    return this.open.size === 0;
  }

  end(job: Job): void {
    this.open.delete(job);
  }

  /** Stages that have ended. */
  get done(): number {
    return this.planned.length - this.open.size;
  }

  /** How many points have all of theirs: `3 of 10 points`. */
  get points(): string {
    const waiting = new Set([...this.open].flatMap(({ owners }) => owners.map(({ point }) => point.name)));
    return `${this.pointCount - waiting.size} of ${count(this.pointCount, "point")}`;
  }

  text(): string {
    const stages = `${this.done} of ${count(this.planned.length, "stage")}`;
    const { points } = this;
    if (this.isDone) return `${stages}, ${points}, in ${duration((performance.now() - this.begun) / 1000)}`;
    const left = this.planned.filter((one) => this.open.has(one.job) && isRun(one));
    const known = left.filter(({ seconds }) => seconds !== undefined);
    const seconds = known.reduce((sum, { seconds = 0 }) => sum + seconds, 0) / this.parallel;
    const rest =
      known.length === 0 ? "" : `; about ${duration(seconds)} left${known.length < left.length ? " or more" : ""}`;
    return `${stages}, ${points}${rest}`;
  }
}

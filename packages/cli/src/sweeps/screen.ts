import { openLog } from "@madformer/stage";
import type { Io } from "../program.js";

/** Where the lines of a sweep and of its stages go. */
export interface Screen extends Disposable {
  /** Something that people want to read. */
  line(text: string): void;
  /** A line of a stage that runs, such as `train: 20/60 steps`. */
  ofStage(title: string, text: string): void;
  /** A stage has ended. */
  ended(text: string, far: Far, failed: boolean): void;
}

/** How far a sweep is: stages, and points in words. */
export interface Far {
  readonly done: number;
  readonly total: number;
  readonly points: string;
}

/** What a stage says all the time: `train: 20/60 steps  ETA 4 s`. */
const PROGRESS = /^([\w-]+): (\d+\/\d+ \S+.*)$/;
/** What it says when it begins and ends. */
const ROUTINE = /^[\w-]+: (working in |done in )/;

/**
 * On a terminal one bar over all stages of all points, which says what runs now; lines are only what is out of the
 * ordinary. Elsewhere a line for everything.
 */
export function openScreen(name: string, { err, stream = process.stderr }: Io): Screen {
  if (!stream.isTTY)
    return {
      line: (text) => err(`${text}\n`),
      ofStage: (title, text) => err(`[${title}] ${text}\n`),
      ended: (text) => err(`${text}\n`),
      [Symbol.dispose]: () => undefined,
    };
  const log = openLog({ name, stream });
  let at: Far | undefined;
  const show = (now?: string): void => {
    if (at) log.progress("stages", at.done, at.total, { done: at.points, ...(now !== undefined && { now }) });
  };
  return {
    line: (text) => log.info(text.replace(`${name}: `, "")), // which the log says, too
    ofStage(title, text) {
      const [, stage, how] = PROGRESS.exec(text) ?? [];
      if (stage !== undefined) show(`${stage} ${how}`);
      else if (!ROUTINE.test(text)) log.info(`[${title}] ${text}`);
    },
    ended(text, far, failed) {
      if (failed) this.line(text);
      at = far;
      show();
      if (far.done === far.total) this.line(text);
    },
    [Symbol.dispose]: () => log[Symbol.dispose](),
  };
}

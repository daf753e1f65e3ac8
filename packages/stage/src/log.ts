import { appendFileSync, mkdirSync } from "node:fs";
import { dirname } from "node:path";
import cliProgress from "cli-progress";
import type { StageLog } from "./stage.js";

/** Seconds between two lines about one job where there is no terminal. */
const LINE_SECONDS = 5;

/** Where a stage's lines go. */
export interface LogOptions {
  /** Written before each line, such as the stage's name. */
  readonly name: string;
  /** People's output, standard error by default. */
  readonly stream?: NodeJS.WriteStream;
  /** File that gets every event as one JSON object per line; its folder is made. */
  readonly file?: string;
}

/** A log with an end: a bar that is drawn must be finished before other lines follow. */
export interface OpenLog extends StageLog, Disposable {}

/** A log for people and for programs: a bar on a terminal, a line every few seconds elsewhere, and a file of events. */
export function openLog({ name, stream = process.stderr, file }: LogOptions): OpenLog {
  if (file !== undefined) mkdirSync(dirname(file), { recursive: true });
  const event = (value: object): void => {
    if (file !== undefined) appendFileSync(file, `${JSON.stringify({ time: new Date().toISOString(), ...value })}\n`);
  };
  const line = (text: string): void => void stream.write(`${name}: ${text}\n`);
  const meter = stream.isTTY ? barMeter(name, stream) : lineMeter(line);
  return {
    info(message) {
      meter.stop();
      line(message);
      event({ level: "info", message });
    },
    warn(message) {
      meter.stop();
      line(`warning: ${message}`);
      event({ level: "warn", message });
    },
    progress(label, done, total, details = {}) {
      meter.show(label, done, total, details);
      event({ progress: label, done, total, ...details });
    },
    [Symbol.dispose]: () => meter.stop(),
  };
}

interface Meter {
  show(label: string, done: number, total: number, details: Readonly<Record<string, string>>): void;
  stop(): void;
}

const pairs = (details: Readonly<Record<string, string>>): string =>
  Object.entries(details)
    .map(([key, value]) => `${key} ${value}`)
    .join("  ");

function barMeter(name: string, stream: NodeJS.WriteStream): Meter {
  let bar: cliProgress.SingleBar | undefined;
  let label = "";
  return {
    show(what, done, total, details) {
      if (bar !== undefined && what !== label) this.stop();
      if (bar === undefined) {
        label = what;
        bar = new cliProgress.SingleBar({
          stream,
          hideCursor: null,
          format: `${name}: {bar} {value}/{total} ${what}  ETA {eta_formatted}  {details}`,
          barCompleteChar: "█",
          barIncompleteChar: "░",
          barsize: 24,
        });
        bar.start(total, done, { details: pairs(details) });
      } else bar.update(done, { details: pairs(details) });
      if (done >= total) this.stop();
    },
    stop() {
      bar?.stop();
      bar = undefined;
    },
  };
}

function lineMeter(line: (text: string) => void): Meter {
  let last = { label: "", at: 0, begun: 0, from: 0, done: 0 };
  return {
    show(label, done, total, details) {
      const now = performance.now();
      if (label !== last.label || done < last.from) last = { label, at: now, begun: now, from: done, done };
      else if (done > last.done && (done >= total || now - last.at >= LINE_SECONDS * 1000)) {
        last = { ...last, at: now, done };
        const perSecond = (done - last.from) / ((now - last.begun) / 1000);
        const eta = done < total && perSecond > 0 ? `  ETA ${duration((total - done) / perSecond)}` : "";
        line(`${done}/${total} ${label}${eta}  ${pairs(details)}`.trimEnd());
      }
    },
    stop() {},
  };
}

/** Seconds as people say them: 8 s, 3 min 20 s, 2 h 5 min. */
export function duration(seconds: number): string {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

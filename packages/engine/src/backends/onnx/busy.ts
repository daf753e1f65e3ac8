import { cpus } from "node:os";

/** Where the machine's and this process's time stands. */
export interface Clock {
  /** Milliseconds. */
  readonly now: () => number;
  /** Milliseconds of all cores that were not idle, since the machine started. */
  readonly machine: () => number;
  /** Milliseconds of all threads of this process, since it started. */
  readonly own: () => number;
}

const CLOCK: Clock = {
  now: () => performance.now(),
  machine: () => cpus().reduce((sum, { times: { user, nice, sys, irq } }) => sum + user + nice + sys + irq, 0),
  own: () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1000;
  },
};

/** A look at how busy the machine is says nothing over less time: clocks tick in hundredths of a second. */
const MIN_WINDOW_MS = 100;

/** Time between looks. */
const WINDOW_MS = 500;

/** Cores that others may use of those that threads want, before spinning takes more than it gives. */
const MAX_SHARE = 0.25;

/**
 * Looks in a row that have to find the machine idle before it counts as idle again: changing to and fro costs loads.
 */
const IDLE_LOOKS = 10;

/**
 * Watches whether other processes want the cores that this one's threads use.
 *
 * ONNX Runtime's threads wait for each other by spinning: for a few microseconds, a few thousand times in a run. Where
 * every thread has a core that is the fastest way to wait. Where it has not, the one that spins is in the way of the
 * one it waits for. *Measured* (2 cores, a step of a small transformer): alone 29 ms spinning and 35 not; beside one
 * busy process 64 and 47.
 */
export class BusyWatch {
  private readonly clock: Clock;
  private readonly cores: number;
  private last: readonly [now: number, machine: number, own: number];
  private idleLooks = 0;
  private busy: boolean | undefined;

  constructor(clock: Clock = CLOCK, cores: number = cpus().length) {
    this.clock = clock;
    this.cores = cores;
    this.last = [clock.now(), clock.machine(), clock.own()];
  }

  /**
   * Whether threads had better not spin now.
   *
   * @param threads How many this process runs; none said is one for each core.
   */
  isBusy(threads: number = this.cores): boolean {
    const [before, machine, own] = this.last;
    const now = this.clock.now();
    const elapsed = now - before;
    if (elapsed >= (this.busy === undefined ? MIN_WINDOW_MS : WINDOW_MS)) {
      const next = [now, this.clock.machine(), this.clock.own()] as const;
      const others = (next[1] - machine - (next[2] - own)) / elapsed;
      this.last = next;
      const crowded = others > Math.max(0, this.cores - threads) + MAX_SHARE;
      this.idleLooks = crowded ? 0 : this.idleLooks + 1;
      if (crowded) this.busy = true;
      else if (this.busy === undefined || this.idleLooks >= IDLE_LOOKS) this.busy = false;
    }
    return this.busy ?? false;
  }
}

/** Begins when this file is loaded, so that the first session finds out over the time that loading everything took. */
export const busyWatch = new BusyWatch();

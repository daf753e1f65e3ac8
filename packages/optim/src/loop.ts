/** A training run, step by step. Steps count from 1, runs of the network from 0. */
export interface TrainingLoop<Batch, Measured extends Readonly<Record<string, number>>> {
  /** Steps done before. */
  readonly done: number;
  /** Steps when it has ended. */
  readonly steps: number;
  /** Runs of the network for a step; 1 if nothing is said. */
  readonly accumulate?: number;
  /** When it is aborted, `stopped` is called, then its reason thrown. */
  readonly signal: AbortSignal;
  /** What a run sees: a function of its number alone, so that a run that goes on sees what it would have seen. */
  readonly batch: (run: number) => Promise<Batch>;
  /** Scalars of a step's update, as `stepScalars` makes them. */
  readonly scalars: (step: number) => Float32Array;
  /**
   * Does one run of a step, as `Trainer` does.
   *
   * @param scalars Those of the step's update, with its last run.
   * @returns What the step comes to, with its last run.
   */
  readonly run: (batch: Batch, scalars: Float32Array | undefined, step: number) => Promise<Measured | undefined>;
  /** Says of a measure of a step that it is no finite number. */
  readonly diverged: (step: number, name: keyof Measured & string, value: number) => Error;
  /** What follows a step: it is noted, shown, kept. */
  readonly after: (step: number, measured: Measured) => Promise<void>;
  /** Keeps what there is, to go on from. */
  readonly stopped: (step: number) => Promise<void>;
}

/**
 * Makes one step after another. While one run computes, the next one's batch is made. What is random in a batch and
 * what changes from step to step follows from their numbers, so a run that goes on where one was stopped makes the same
 * bits.
 *
 * @throws What `diverged` says, if a measure is not finite: the step does not count then.
 * @throws `signal.reason` when aborted, after `stopped`; not after the last step.
 */
export async function trainSteps<Batch, Measured extends Readonly<Record<string, number>>>(
  loop: TrainingLoop<Batch, Measured>,
): Promise<void> {
  const { accumulate = 1, signal, steps } = loop;
  let step = loop.done;
  const end = steps * accumulate;
  let next = step < steps ? loop.batch(step * accumulate) : undefined;
  try {
    for (let run = step * accumulate; next; run++) {
      const batch = await next;
      signal.throwIfAborted();
      const isLast = (run + 1) % accumulate === 0;
      const running = loop.run(batch, isLast ? loop.scalars(step + 1) : undefined, step + 1);
      next = run + 1 < end ? later(() => loop.batch(run + 1)) : undefined;
      const [measured] = await Promise.all([running, next]);
      if (!measured) continue;
      for (const [name, value] of Object.entries(measured))
        if (!Number.isFinite(value)) throw loop.diverged(step + 1, name, value);
      step++;
      await loop.after(step, measured);
    }
  } catch (error) {
    if (signal.aborted && error === signal.reason) await loop.stopped(step);
    throw error;
  }
}

/** Does something once what was started before has got hold of its thread. */
async function later<T>(work: () => Promise<T>): Promise<T> {
  await new Promise((resolve) => setImmediate(resolve));
  return work();
}

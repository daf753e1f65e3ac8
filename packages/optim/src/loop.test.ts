import { trainSteps, type TrainingLoop } from "./loop.js";

type Measured = Readonly<Record<"loss", number>>;

/** A loop that remembers what it did. */
function loopOf(given: Partial<TrainingLoop<number, Measured>> = {}) {
  const done: string[] = [];
  const accumulate = given.accumulate ?? 1;
  const loop: TrainingLoop<number, Measured> = {
    done: 0,
    steps: 3,
    signal: new AbortController().signal,
    batch: (run) => {
      done.push(`batch ${run}`);
      return Promise.resolve(run);
    },
    scalars: (step) => Float32Array.of(step),
    run: async (batch, scalars, step) => {
      done.push(`run ${batch}`);
      await new Promise((resolve) => setTimeout(resolve, 1));
      if ((batch + 1) % accumulate === 0) expect(scalars).toEqual(Float32Array.of(step));
      else expect(scalars).toBeUndefined();
      return scalars && { loss: 10 * step };
    },
    diverged: (step, name, value) => new RangeError(`${name} is ${value} at step ${step}`),
    after: (step, { loss }) => {
      done.push(`after ${step}: ${loss}`);
      return Promise.resolve();
    },
    stopped: (step) => {
      done.push(`stopped ${step}`);
      return Promise.resolve();
    },
    ...given,
  };
  return { loop, done };
}

describe("trainSteps()", () => {
  test("makes the next batch while a run computes, and one after another what follows", async () => {
    const { loop, done } = loopOf();
    await trainSteps(loop);
    expect(done).toEqual([
      ...["batch 0", "run 0", "batch 1", "after 1: 10"],
      ...["run 1", "batch 2", "after 2: 20"],
      ...["run 2", "after 3: 30"],
    ]);
  });

  test("makes a step of several runs, and goes on from one that was made before", async () => {
    const { loop, done } = loopOf({ accumulate: 2, done: 1 });
    await trainSteps(loop);
    expect(done).toEqual([
      ...["batch 2", "run 2", "batch 3", "run 3", "batch 4", "after 2: 20"],
      ...["run 4", "batch 5", "run 5", "after 3: 30"],
    ]);
  });

  test("does nothing where all is done", async () => {
    const { loop, done } = loopOf({ done: 3 });
    await trainSteps(loop);
    expect(done).toEqual([]);
  });

  test("stopped, says after which step, and throws the reason", async () => {
    const controller = new AbortController();
    const reason = new Error("enough");
    const { loop, done } = loopOf({ signal: controller.signal });
    const after = (step: number): Promise<void> => Promise.resolve(step === 2 ? controller.abort(reason) : undefined);
    await expect(trainSteps({ ...loop, after })).rejects.toBe(reason);
    expect(done.at(-1)).toBe("stopped 2");
    // Within a step of several runs, too: those count for nothing.
    const { loop: within, done: doneWithin } = loopOf({ signal: AbortSignal.abort(reason), accumulate: 3, done: 1 });
    await expect(trainSteps(within)).rejects.toBe(reason);
    expect(doneWithin).toEqual(["batch 3", "stopped 1"]);
    // What fails for another reason is not kept.
    const { loop: failing, done: failed } = loopOf();
    await expect(trainSteps({ ...failing, after: () => Promise.reject(new Error("full")) })).rejects.toThrow("full");
    expect(failed.filter((line) => line.startsWith("stopped"))).toEqual([]);
  });

  test.each([NaN, Infinity])("ends with the step whose loss is %d, which does not count", async (loss) => {
    const { loop, done } = loopOf();
    const run: typeof loop.run = (batch, scalars, step) =>
      step === 2 ? Promise.resolve({ loss }) : loop.run(batch, scalars, step);
    await expect(trainSteps({ ...loop, run })).rejects.toThrow(new RangeError(`loss is ${loss} at step 2`));
    expect(done.filter((line) => line.startsWith("after"))).toEqual(["after 1: 10"]);
  });
});

import { mkdir, mkdtemp, readdir, rm, truncate } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeSafetensors } from "@madformer/artifacts";
import { StageFiles } from "./files.js";
import { dropProgress, findProgress, keepProgress, PROGRESS_FILE, type StateTensors } from "./progress.js";

let out: string;
beforeEach(async () => {
  out = await mkdtemp(join(tmpdir(), "progress-"));
  await mkdir(join(out, "tmp"));
});
afterEach(() => rm(out, { recursive: true }));

/** One attempt of a stage. */
async function attempt<T>(work: (place: { out: string; files: StageFiles }) => Promise<T>): Promise<T> {
  await using files = await StageFiles.open(out);
  return await work({ out, files });
}

/** A state of one tensor, a/w. */
function stateOf(...values: number[]): StateTensors & { now: Float32Array } {
  return {
    now: Float32Array.from(values),
    fields: [{ name: "a/w", shape: [values.length] }],
    read(name) {
      expect(name).toBe("a/w");
      return Promise.resolve(this.now);
    },
    write(_, value) {
      this.now = value;
      return Promise.resolve();
    },
  };
}

describe("keepProgress() and findProgress()", () => {
  const told = Float32Array.of(1, 2, 3, 4, 5, 6);

  test("bring a state back to where it was, and what its steps told", async () => {
    const work = { width: 3 };
    await attempt(async (place) => {
      expect(await findProgress(place, stateOf(0, 0), work)).toBeUndefined();
      await keepProgress(place, stateOf(1, 2), { step: 2, told }, work);
    });
    const state = stateOf(10, 10);
    await attempt(async (place) => expect(await findProgress(place, state, work)).toEqual({ step: 2, told }));
    expect(state.now).toEqual(Float32Array.of(1, 2));
    await attempt(async (place) => {
      await dropProgress(place);
      expect(await findProgress(place, state, work)).toBeUndefined();
    });
    expect(await readdir(join(out, "tmp"))).toEqual([]);
  });

  test("refuse a state that is not finite, and name what of it", () =>
    attempt(async (place) => {
      await expect(keepProgress(place, stateOf(1, NaN), { step: 2, told }, { width: 3 })).rejects.toThrow(
        'Cannot save the training at step 2: "a/w" is not finite: 1 of 2 elements, the first is NaN at index 1',
      );
      expect(await readdir(join(out, "tmp"))).toEqual([]);
      const good = { "state/a/w": { shape: [2], data: Float32Array.of(0, 0) }, told: { shape: [6], data: told } };
      for (const [name, { shape }] of Object.entries(good)) {
        const bad = { ...good, [name]: { shape, data: new Float32Array(shape[0]!).fill(Infinity) } };
        await writeSafetensors(join(out, PROGRESS_FILE), bad, { step: "2" });
        await place.files.keep(PROGRESS_FILE);
        await expect(findProgress(place, stateOf(0, 0), { width: 3 })).rejects.toThrow(
          `Cannot read ${JSON.stringify(join(out, PROGRESS_FILE))}: tensor "${name}" is not finite: ${shape[0]} of ${shape[0]}`,
        );
      }
    }));

  test("refuse what is of another state, and find nothing where it is of other work or was damaged", async () => {
    await attempt(async (place) => {
      await keepProgress(place, stateOf(0, 0), { step: 2, told }, { width: 3, identity: "this" });
      const find = (width: number, state = stateOf(0, 0), identity = "this") =>
        findProgress(place, state, { width, identity });
      expect(await find(3)).toEqual({ step: 2, told });
      expect(await find(3, undefined, "other")).toBeUndefined();
      expect(await findProgress(place, stateOf(0, 0), { width: 3 })).toBeUndefined();
      const refused = (found: Promise<unknown>) =>
        expect(found).rejects.toThrow(/^Cannot go on from ".*": it is of another training/);
      await refused(find(2)); // other losses
      await refused(find(3, stateOf(0, 0, 0)));
      await writeSafetensors(
        join(out, PROGRESS_FILE),
        { told: { shape: [0], data: new Float32Array() } },
        { step: "0", identity: "this" },
      );
      await place.files.keep(PROGRESS_FILE);
      await refused(find(3));
    });
    await truncate(join(out, PROGRESS_FILE), 20);
    await attempt(async (place) => expect(await findProgress(place, stateOf(0, 0), { width: 3 })).toBeUndefined());
  });
});

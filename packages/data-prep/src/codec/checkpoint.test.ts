import { readdir, truncate } from "node:fs/promises";
import { join } from "node:path";
import { writeSafetensors } from "@madformer/artifacts";
import { compile, spec } from "@madformer/engine";
import * as tf from "@tensorflow/tfjs-core";
import { contextIn, inFolder } from "../testing.js";
import { readCheckpoint, writeCheckpoint } from "./checkpoint.js";

/** Counts: w grows by x at each run. */
const counter = (size: number) =>
  compile(({ a: { w } }, { x }) => ({ state: { a: { w: tf.add(w, x) } }, outputs: {} }), {
    state: { a: { w: spec([size]) } },
    inputs: { x: spec([size]) },
  });
const FILE = "tmp/checkpoint.safetensors";

describe("writeCheckpoint() and readCheckpoint()", () => {
  test("bring a program back to where it was, and what its steps told", () =>
    inFolder(async (folder) => {
      await using program = await counter(2);
      const context = await contextIn(folder);
      expect(await readCheckpoint(context, program, 3)).toBeUndefined();
      await program.run({ x: [1, 2] });
      const told = Float32Array.of(1, 2, 3, 4, 5, 6);
      await writeCheckpoint(context, program, { step: 2, told });
      await program.run({ x: [10, 10] });
      expect(await readCheckpoint(await contextIn(folder), program, 3)).toEqual({ step: 2, told });
      expect(await program.state.readAll()).toEqual({ a: { w: Float32Array.of(1, 2) } });
    }));

  test("refuse a state that is not finite, and name what of it", () =>
    inFolder(async (folder) => {
      await using program = await counter(2);
      await program.run({ x: [1, NaN] });
      const told = new Float32Array(6);
      const context = await contextIn(folder);
      await expect(writeCheckpoint(context, program, { step: 2, told })).rejects.toThrow(
        'Cannot save the training at step 2: "a/w" is not finite: 1 of 2 elements, the first is NaN at index 1',
      );
      expect(await readdir(join(folder, "tmp"))).toEqual([]);
      const good = { "state/a/w": { shape: [2], data: Float32Array.of(0, 0) }, told: { shape: [6], data: told } };
      for (const [name, { shape }] of Object.entries(good)) {
        const bad = { ...good, [name]: { shape, data: new Float32Array(shape[0]!).fill(Infinity) } };
        await writeSafetensors(join(folder, FILE), bad, { step: "2" });
        await context.files.keep(FILE);
        await expect(readCheckpoint(context, program, 3)).rejects.toThrow(
          `Cannot read ${JSON.stringify(join(folder, FILE))}: tensor "${name}" is not finite: ${shape[0]} of ${shape[0]}`,
        );
      }
    }));

  test("refuse what is of another program, and find nothing where it was damaged", () =>
    inFolder(async (folder) => {
      await using program = await counter(2);
      await using wider = await counter(3);
      const context = await contextIn(folder);
      await writeCheckpoint(context, program, { step: 2, told: new Float32Array(6) });
      const refused = (width: number, of = program) =>
        expect(readCheckpoint(context, of, width)).rejects.toThrow(
          /^Cannot go on from ".*": it is of another training/,
        );
      await refused(2); // other losses
      await refused(3, wider);
      await writeSafetensors(join(folder, FILE), { told: { shape: [0], data: new Float32Array() } }, { step: "0" });
      await context.files.keep(FILE);
      await refused(3);
      await truncate(join(folder, FILE), 20);
      expect(await readCheckpoint(await contextIn(folder), program, 3)).toBeUndefined();
    }));
});

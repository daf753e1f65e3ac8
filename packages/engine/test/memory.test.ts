/** Memory that native code uses belongs to objects that JavaScript might collect. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { compile, spec } from "@madformer/engine";
import * as tf from "@tensorflow/tfjs-core";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

/** Collects garbage, with time for what runs after a collection. */
async function collectAll(): Promise<void> {
  for (let i = 0; i < 3; i++) {
    collect();
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** A program with state, large constants, outputs and inputs, none of which anything but the program refers to. */
const make = (k: number) =>
  compile(
    ({ total, weights }, { x }) => ({
      state: { total: tf.add(total, tf.sum(x)) },
      outputs: { before: tf.sum(total), mean: tf.mean(tf.matMul(tf.reshape(x, [1, 3]), weights)) },
    }),
    { state: { total: spec([7]), weights: spec([3, 1000]) }, inputs: { x: spec([3]) } },
    { constants: { weights: new Float32Array(3000).fill(k) }, session: { threads: 1 } },
  );

test("programs keep what they use through garbage collections, many at once", async () => {
  for (let round = 0; round < 3; round++) {
    const loading = Array.from({ length: 4 }, (_, k) => make(k));
    collect(); // while models are being loaded
    const programs = await Promise.all(loading);
    for (let run = 0; run < 3; run++) {
      await collectAll();
      const running = programs.map((program, k) => program.run({ x: Float32Array.of(1, 2, k) }));
      collect(); // while programs run
      for (const [k, { before, mean }] of (await Promise.all(running)).entries()) {
        expect(before[0]).toBe(7 * (3 + k) * run);
        expect(mean[0]).toBeCloseTo(k * (3 + k), 3);
      }
    }
    await Promise.all(programs.map((program) => program.dispose()));
  }
});

/** How threads wait follows the machine while a program runs, and changes nothing else. */
import { jest } from "@jest/globals";
import { compile, spec } from "@madformer/engine";
import * as tf from "@tensorflow/tfjs-core";
import { busyWatch } from "../src/backends/onnx/busy.js";
import { OrtSession } from "../src/backends/onnx/ort-session.js";

afterEach(() => jest.restoreAllMocks());

const make = () =>
  compile(
    ({ w, fixed }, { x }) => {
      const { value, grad } = tf.valueAndGrad((w: tf.Tensor2D) => tf.mean(tf.square(tf.matMul(x, w))))(w);
      return { state: { w: tf.sub(w, tf.mul(grad, 0.1)) }, outputs: { value, y: tf.matMul(x, tf.mul(w, fixed)) } };
    },
    { state: { w: spec([32, 32]), fixed: spec([32, 32]) }, inputs: { x: spec([64, 32]) } },
    { session: { threads: 2 }, initialState: { w: wave(32 * 32, 0), fixed: wave(32 * 32, 1) } },
  );
const wave = (size: number, phase: number) => Float32Array.from({ length: size }, (_, i) => Math.sin(i + phase));

/** Runs steps until a session was exchanged, or some more; arrays and handles go in by turns. */
async function train(busy: (step: number) => boolean): Promise<{ seen: number[]; exchanges: number }> {
  let step = 0;
  jest.spyOn(busyWatch, "isBusy").mockImplementation(() => busy(step));
  const exchanged = jest.spyOn(OrtSession.prototype as unknown as { exchange: () => unknown }, "exchange");
  await using program = await make();
  const seen: number[] = [];
  for (; step < 40; step++) {
    const { value, y } = await program.run({ x: wave(64 * 32, step) }, { handles: ["y"] });
    seen.push(value[0]!, ...(await y.read()).subarray(0, 4));
    y.dispose();
    if (step % 10 === 5) await new Promise((resolve) => setTimeout(resolve, 50)); // another session is loaded meanwhile
  }
  seen.push(...(await program.state.read("w")));
  return { seen, exchanges: exchanged.mock.calls.length };
}

test("a session that waits in another way takes the place of one that runs, with all that is bound, and no bit changes", async () => {
  const alone = await train(() => false);
  expect(alone.exchanges).toBe(0);
  jest.restoreAllMocks();
  const changing = await train((step) => step % 20 < 10);
  expect(changing.exchanges).toBeGreaterThan(1);
  expect(changing.seen).toEqual(alone.seen);
});

test("a session is left alone where its config says how threads wait", async () => {
  jest.spyOn(busyWatch, "isBusy").mockReturnValue(true);
  const exchanged = jest.spyOn(OrtSession.prototype as unknown as { exchange: () => unknown }, "exchange");
  await using program = await compile(
    (_state, { x }) => ({ outputs: { y: tf.mul(x, 2) } }),
    { inputs: { x: spec([3]) } },
    { session: { config: { "session.intra_op.allow_spinning": "1" } } },
  );
  for (let run = 0; run < 5; run++) {
    await program.run({ x: [1, 2, 3] });
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  expect(exchanged).not.toHaveBeenCalled();
});

/** What is peculiar to TensorFlow; what every engine does is tested where `INSTALLED` stands. */
import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { compile, engineStates, hostCopies, installFolder, spec } from "@madformer/engine";
import * as tf from "@tensorflow/tfjs-core";
import { GraphExecutor } from "../src/eager/executor.js";
import { optimize } from "../src/passes/index.js";
import { fieldsOf } from "../src/signature.js";
import { trace } from "../src/trace/trace.js";
import { describeInstalled } from "./installed.js";
import { expectClose, TOLERANCE } from "./tolerance.js";
import { Draws } from "./values.js";

const draws = new Draws("tensorflow");
const [W0, X, Y] = [draws.normal([32, 32]).data, draws.normal([64, 32]).data, draws.normal([64, 32]).data];

/** A step of gradient descent on the squared distance of softmax(x · w) from y. */
const regression = () =>
  compile(
    ({ w }, { x, y }) => {
      const loss = (w: tf.Tensor2D) => tf.mean<tf.Scalar>(tf.squaredDifference(tf.softmax(tf.matMul(x, w)), y));
      const { value, grad } = tf.valueAndGrad(loss)(w);
      return { state: { w: tf.sub(w, tf.mul(0.1, grad)) }, outputs: { loss: value } };
    },
    { state: { w: spec([32, 32]) }, inputs: { x: spec([64, 32]), y: spec([64, 32]) } },
    { engine: "tensorflow", name: "regression", initialState: { w: W0 } },
  );

describeInstalled("tensorflow", () => {
  test("takes no tensor and no memory more in 1,000 steps, and copies nothing but inputs and what is read", async () => {
    const none = tf.memory().numTensors;
    {
      await using program = await regression();
      await program.run({ x: X, y: Y });
      const [tensors, copies] = [tf.memory().numTensors, hostCopies().count];
      const run = async (times: number): Promise<number> => {
        for (let step = 0; step < times; step++)
          (await program.run({ x: X, y: Y }, { handles: ["loss"] })).loss.dispose();
        return process.memoryUsage.rss();
      };
      const before = await run(200);
      expect((await run(1000)) - before).toBeLessThan(32 << 20); // 9 tensors of 8 KiB a step would be 70 MiB
      expect(tf.memory().numTensors).toBeLessThanOrEqual(tensors);
      expect(hostCopies().count).toBe(copies);
    }
    expect(tf.memory().numTensors).toBe(none);
  }, 600_000); // a few seconds on a machine that does nothing else

  test("repeats a training to the last bit, and goes on from saved state as if it had not stopped", async () => {
    await using first = await regression();
    await using second = await regression();
    for (let step = 0; step < 5; step++)
      expect((await second.run({ x: X, y: Y })).loss).toEqual((await first.run({ x: X, y: Y })).loss);
    await using third = await regression();
    await third.state.writeAll(await first.state.readAll());
    expect((await third.run({ x: X, y: Y })).loss).toEqual((await first.run({ x: X, y: Y })).loss);
  });
});

/** What a process of its own computes where engines lie in a folder: 2 · 3 + 1. */
const PROGRAM = `
import { compile, spec } from "@madformer/engine";
import * as tf from "@tensorflow/tfjs-core";
const program = await compile((_, { x }) => ({ outputs: { y: tf.add(tf.mul(x, 2), 1) } }),
  { state: {}, inputs: { x: spec([1]) } }, { engine: "tensorflow" });
console.log((await program.run({ x: new Float32Array([3]) })).y[0]);`;

/** The folder that the engine was installed into; a package of npm's lies where Node finds it. */
const source =
  engineStates()
    .find(({ name }) => name === "tensorflow")
    ?.notes?.[0]?.replace("from ", "") ?? "";

(source.startsWith("tensorflow") ? test : test.skip)(
  "tfjs-node gets this project's tfjs, wherever engines lie" +
    (source.startsWith("tensorflow") ? "" : " (skipped: it is not installed in a folder of engines)"),
  async () => {
    const other = await mkdtemp(join(tmpdir(), "engines-"));
    try {
      for (const name of ["tfjs", "tfjs-core"]) {
        const folder = join(other, "node_modules", "@tensorflow", name);
        await mkdir(folder, { recursive: true });
        await writeFile(
          join(folder, "package.json"),
          JSON.stringify({ name: `@tensorflow/${name}`, version: "3.0.0" }),
        );
        await writeFile(join(folder, "index.js"), `throw new Error("another project's ${name}");`);
      }
      const [from, to] = [installFolder(source), join(other, "engines", source)];
      await mkdir(to, { recursive: true });
      for (const name of ["installed.json", "tfjs_binding.node", "node_modules"])
        await cp(join(from, name), join(to, name), { recursive: true });
      await symlink(join(from, "tensorflow"), join(to, "tensorflow"));
      const env = { ...process.env, MADFORMER_ENGINES: join(other, "engines"), NODE_OPTIONS: "" };
      const args = ["--no-warnings", "--input-type=module", "-e", PROGRAM];
      const cwd = fileURLToPath(new URL(".", import.meta.url)); // where the program finds its packages
      const { stdout } = await promisify(execFile)(process.execPath, args, { cwd, env });
      expect(stdout.trim()).toBe("7");
    } finally {
      await rm(other, { recursive: true, force: true });
    }
  },
  240_000,
);

describe("GraphExecutor", () => {
  const fn = ({ w }: { w: tf.Tensor2D }, { x }: { x: tf.Tensor2D }) => {
    const { value, grad } = tf.valueAndGrad((w: tf.Tensor2D) => tf.mean(tf.square(tf.matMul(x, w))))(w);
    return { state: { w: tf.sub(w, grad) }, outputs: { value } };
  };
  const fields = {
    state: fieldsOf({ w: spec([32, 32]) }, "state"),
    inputs: fieldsOf({ x: spec([64, 32]) }, "inputs"),
    outputs: [{ name: "value", dtype: "float32", shape: [] }],
    updated: new Set(["w"]),
  } as const;

  test("runs a graph on any tfjs backend, and frees all that it made", async () => {
    await using oracle = await compile(
      fn,
      { state: { w: spec([32, 32]) }, inputs: { x: spec([64, 32]) } },
      { engine: "cpu" },
    );
    await oracle.state.write("w", W0);
    const { graph } = optimize(trace("any", fn as never, fields.state, fields.inputs), "any");
    const before = tf.memory().numTensors;
    const executor = new GraphExecutor("cpu", graph, fields);
    await executor.writeState("w", W0);
    for (let step = 0; step < 3; step++) {
      await executor.run(new Map([["x", X]]));
      executor.commit();
      expectClose(await executor.readOutput("value"), (await oracle.run({ x: X })).value, TOLERANCE.product);
    }
    expectClose(await executor.readState("w"), await oracle.state.read("w"), TOLERANCE.product);
    await executor.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });
});

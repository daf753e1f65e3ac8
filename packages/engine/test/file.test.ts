/** Programs as `.onnx` files. */
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { compile, loadProgram, saveProgram, spec, type Program } from "@madformer/engine";
import * as tf from "@tensorflow/tfjs-core";
import ort from "onnxruntime-node";
import { decodeModel, encodeModel } from "../src/onnx/proto.js";
import { expectClose } from "./tolerance.js";

/** Two roundings of float32 on values near one: the files may use other operators than the program itself. */
const ROUNDING = { absolute: 1e-6, relative: 1e-6 };

let folder: string;
beforeEach(async () => void (folder = await mkdtemp(join(tmpdir(), "madformer-file-"))));
afterEach(() => rm(folder, { recursive: true }));

/** A step with a gradient, attention-like products (batched, transposed, scaled), SiLU, and constant weights. */
async function makeProgram(): Promise<Program> {
  return await compile(
    ({ w, c }, { x }) => {
      const loss = (w: tf.Tensor): tf.Scalar => {
        const h = tf.reshape(tf.matMul(tf.reshape(x, [6, 4]), tf.add(w as tf.Tensor2D, c)), [2, 3, 4]);
        const mixed = tf.matMul(tf.softmax(tf.mul(tf.matMul(h, h, false, true), 0.5)), h);
        return tf.mean(tf.square(tf.mul(mixed, tf.sigmoid(mixed))));
      };
      const { value, grad } = tf.valueAndGrad(loss)(w);
      return { state: { w: tf.sub(w, grad) }, outputs: { loss: value } };
    },
    { state: { w: spec([4, 4]), c: spec([4, 4]) }, inputs: { x: spec([2, 3, 4]) } },
    { name: "step", constants: { c: Float32Array.from({ length: 16 }, (_, i) => Math.sin(i)) } },
  );
}

const W = Float32Array.from({ length: 16 }, (_, i) => Math.cos(i));
const X = Float32Array.from({ length: 24 }, (_, i) => Math.sin(2 * i));

async function expected(): Promise<{ w: Float32Array; loss: Float32Array }> {
  const program = await makeProgram();
  await program.state.write("w", W);
  const { loss } = (await program.run({ x: X })) as { loss: Float32Array };
  const w = (await program.state.read("w")) as Float32Array;
  await program.dispose();
  return { w, loss };
}

async function saved(target?: "standard" | "onnxruntime"): Promise<string> {
  const path = join(await mkdtemp(join(folder, "saved-")), "step.onnx");
  await using program = await makeProgram();
  await saveProgram(program, path, target);
  expect(await readdir(dirname(path))).toEqual(["step.onnx"]); // no temporary file is left
  return path;
}

describe("saveProgram()", () => {
  test.each(["standard", "onnxruntime"] as const)(
    "writes a file for %s that plain onnxruntime-node runs to the same numbers",
    async (target) => {
      const session = await ort.InferenceSession.create(await saved(target));
      expect([...session.inputNames]).toEqual(["state/w", "inputs/x"]);
      const feeds = {
        "state/w": new ort.Tensor("float32", W, [4, 4]),
        "inputs/x": new ort.Tensor("float32", X, [2, 3, 4]),
      };
      const result = await session.run(feeds);
      const { w, loss } = await expected();
      expectClose(result["next/w"]?.data as Float32Array, w, ROUNDING, "w");
      expectClose(result["outputs/loss"]?.data as Float32Array, loss, ROUNDING, "loss");
      await session.release();
    },
  );

  test("writes opset 21 and, by default, standard operators alone", async () => {
    const standard = decodeModel(await readFile(await saved()));
    expect(standard.opsetImport).toEqual([{ domain: "", version: 21 }]);
    expect(standard.irVersion).toBe(10);
    expect(standard.graph.node.filter(({ domain }) => domain !== "")).toEqual([]);
    const own = decodeModel(await readFile(await saved("onnxruntime")));
    expect(own.graph.node.some(({ domain }) => domain === "com.microsoft")).toBe(true);
  });

  test("writes what an engine without graphs of its own calls, and not what was loaded from a file", async () => {
    await using program = await compile(
      (_s, { x }) => ({ outputs: { y: tf.mul(x, 3) } }),
      { inputs: { x: spec([1]) } },
      { engine: "cpu", name: "eager" },
    );
    const path = join(folder, "eager.onnx");
    await saveProgram(program, path);
    await using loaded = await loadProgram(path);
    expect(await loaded.run({ x: [2] })).toEqual({ y: Float32Array.of(6) });
    await expect(saveProgram(loaded, path)).rejects.toThrow(
      new TypeError('Program "eager" was loaded from a file and has no graph to save'),
    );
  });
});

describe("loadProgram()", () => {
  test("gives back a program with the same name, state, inputs and numbers", async () => {
    await using program = await loadProgram(await saved());
    expect(program.name).toBe("step");
    expect(program.state.names).toEqual(["w"]);
    expect(program.inputs).toEqual([{ name: "x", dtype: "float32", shape: [2, 3, 4] }]);
    await program.state.write("w", W);
    const { loss } = (await program.run({ x: X })) as { loss: Float32Array };
    const reference = await expected();
    expectClose(loss, reference.loss, ROUNDING, "loss");
    expectClose(await program.state.read("w"), reference.w, ROUNDING, "w");
  });

  test("gives back a large constant, wherever it lies in the file", async () => {
    const size = 4096; // large enough to be handed to ONNX Runtime by its address
    const c = Float32Array.from({ length: size }, (_, i) => Math.sin(i));
    for (const name of ["c", "cc", "ccc", "cccc"]) {
      const path = join(folder, `${name}.onnx`);
      await using program = await compile(
        (state, { x }) => ({ outputs: { y: tf.add(state[name] as tf.Tensor1D, x) } }),
        { state: { [name]: spec([size]) }, inputs: { x: spec([size]) } },
        { name, constants: { [name]: c } },
      );
      await saveProgram(program, path);
      await using loaded = await loadProgram(path);
      const { y } = (await loaded.run({ x: new Float32Array(size) })) as { y: Float32Array };
      expect(y).toEqual(c);
    }
  });

  test("says what is wrong with a file that is none of its own", async () => {
    const path = join(folder, "other.onnx");
    await writeFile(path, "not protobuf at all");
    await expect(loadProgram(path)).rejects.toThrow(/^Cannot load ".*other.onnx": Not an ONNX model/);

    const model = decodeModel(await readFile(await saved()));
    await writeFile(path, encodeModel({ ...model, metadataProps: [] }));
    await expect(loadProgram(path)).rejects.toThrow(/no program was saved as it/);

    const renamed = { ...model.graph, output: model.graph.output.map((output) => ({ ...output, name: "y" })) };
    await writeFile(path, encodeModel({ ...model, graph: renamed }));
    await expect(loadProgram(path)).rejects.toThrow(/"y" is no name of a program's input or output/);

    const outside = {
      name: "leak",
      dims: [1],
      dataType: 1,
      dataLocation: 1,
      externalData: [{ key: "location", value: "../secret" }],
    };
    await writeFile(path, encodeModel({ ...model, graph: { ...model.graph, initializer: [outside] } }));
    await expect(loadProgram(path)).rejects.toThrow(/tensor "leak" lies in another file, which is not followed/);

    for (const dim of [[{ dimValue: 1e12 }], [{ dimValue: -1 }], [{}]]) {
      const type = { tensorType: { elemType: 1, shape: { dim } } };
      const input = model.graph.input.map((info) => ({ ...info, type }));
      await writeFile(path, encodeModel({ ...model, graph: { ...model.graph, input } } as never));
      await expect(loadProgram(path)).rejects.toThrow(/"state\/w" has shape \(.*\), expected static sizes/);
    }

    const broken = { ...model.graph, node: model.graph.node.map((node) => ({ ...node, opType: "NoSuchOperator" })) };
    await writeFile(path, encodeModel({ ...model, graph: broken }));
    await expect(loadProgram(path)).rejects.toThrow(
      /^Program "step" failed while it was loaded from ".*other.onnx": .*NoSuchOperator/,
    );
  });
});

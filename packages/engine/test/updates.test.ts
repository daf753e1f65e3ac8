import { compile, spec } from "@madformer/engine";
import * as tf from "@tensorflow/tfjs-core";

type Tensors = Record<string, tf.Tensor>;

/** Steps of an optimizer on some parameters, by names that sort otherwise than they stand. */
function adam(shapes: Record<string, readonly number[]>) {
  const names = Object.keys(shapes);
  return (
    { p, m, v, still }: Readonly<Record<"p" | "m" | "v" | "still", Tensors>>,
    { x, rate }: { x: tf.Tensor1D; rate: tf.Tensor1D },
  ) => {
    const next = { p: {} as Tensors, m: {} as Tensors, v: {} as Tensors };
    const [even, odd] = [tf.reshape(rate, []), tf.mul(tf.exp(tf.reshape(rate, [])), 0.01)];
    for (const [i, name] of names.entries()) {
      const scale = i % 2 === 0 ? even : odd; // equal computations with different scalars
      const [value, first, second] = [p[name]!, m[name]!, v[name]!];
      const g = tf.add(tf.tanh(value), tf.add(tf.sum(x), 2)); // tanh stays in the graph; never near 0
      next.m[name] = tf.add(tf.mul(first, 0.9), tf.mul(g, 0.1));
      next.v[name] = tf.add(tf.mul(second, 0.95), tf.mul(tf.square(g), 0.05));
      const step = tf.div(next.m[name], tf.add(tf.sqrt(next.v[name]), 1e-8));
      next.p[name] = tf.sub(tf.mul(value, 0.99), tf.mul(step, scale));
    }
    return { state: next, outputs: { sum: tf.sum(tf.mul(still["w"]!, even)) } };
  };
}

const SHAPES: Record<string, readonly number[]> = {
  b: [3],
  a: [7, 5],
  scalar: [],
  one: [1],
  c: [4, 4],
  d: [3],
  e: [2, 3, 5],
};

async function programOf(shapes: typeof SHAPES, engine: "onnx" | "cpu") {
  const specs = Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, spec(shape)]));
  const signature = {
    state: { p: specs, m: specs, v: specs, still: { w: spec([2]) } },
    inputs: { x: spec([2]), rate: spec([1]) },
  };
  const values = Object.fromEntries(
    Object.entries(shapes).map(([name, shape], k) => {
      const size = shape.reduce((a, b) => a * b, 1);
      return [name, Float32Array.from({ length: size }, (_, i) => Math.sin(7 * k + i))];
    }),
  );
  const initialState = { p: values, still: { w: [1, 2] } };
  return await compile(adam(shapes), signature, { engine, initialState });
}

const inputs = (step: number) => ({ x: [0.1 * step, -0.3], rate: [0.01 * step] });

describe("updates of the state", () => {
  test("are those of the function, over several steps", async () => {
    await using compiled = await programOf(SHAPES, "onnx");
    await using oracle = await programOf(SHAPES, "cpu");
    for (let step = 1; step <= 5; step++) {
      expect(await compiled.run(inputs(step))).toEqual(await oracle.run(inputs(step)));
      // tanh differs by a few units in the last place between the engines, and all that follows from it.
      for (const name of oracle.state.names) {
        const [ours, theirs] = [await compiled.state.read(name), await oracle.state.read(name)];
        ours.forEach((value, i) => expect(Math.abs(value - theirs[i]!)).toBeLessThan(1e-5));
      }
    }
  });

  test("leave state that was written in its place, and do not touch what they do not name", async () => {
    await using program = await programOf(SHAPES, "onnx");
    await program.run(inputs(1));
    const zeros = new Float32Array(30);
    await program.state.write("m/e", zeros);
    await program.state.write("p/e", zeros);
    const others = await program.state.read("p/c");
    expect(await program.state.read("m/e")).toEqual(zeros);
    expect(await program.state.read("p/c")).toEqual(others);
    await program.run(inputs(0)); // rate 0: every second parameter shrinks and nothing else
    const shrunk = await program.state.read("p/c");
    others.forEach((value, i) => expect(shrunk[i]).toBeCloseTo(0.99 * value, 6));
    expect((await program.state.read("p/e")).every((value) => value === 0)).toBe(true);
    expect(await program.state.read("still/w")).toEqual(Float32Array.of(1, 2));
  });

  test("are the same on threads, which large state is updated on", async () => {
    // One element more than whole groups of four, and enough for threads.
    const large = { ...SHAPES, large: [(1 << 18) + 1], other: [301, 3] };
    await using compiled = await programOf(large, "onnx");
    await using oracle = await programOf(large, "cpu");
    for (let step = 1; step <= 2; step++) await Promise.all([compiled.run(inputs(step)), oracle.run(inputs(step))]);
    for (const name of oracle.state.names) {
      const [ours, theirs] = [await compiled.state.read(name), await oracle.state.read(name)];
      let worst = 0;
      ours.forEach((value, i) => (worst = Math.max(worst, Math.abs(value - theirs[i]!))));
      expect(worst).toBeLessThan(1e-5);
    }
  });

  test("do not reach the state of a run that fails", async () => {
    const specs = Object.fromEntries(Object.entries(SHAPES).map(([name, shape]) => [name, spec(shape)]));
    const signature = {
      state: { p: specs, m: specs, v: specs, still: { w: spec([2]) } },
      inputs: { x: spec([2]), rate: spec([1]) },
    };
    await using program = await compile(adam(SHAPES), signature, { checkFinite: "all" });
    await program.run(inputs(1));
    const before = await program.state.readAll();
    await expect(program.run({ x: [NaN, 1], rate: [1] })).rejects.toThrow(/not finite|NaN/);
    expect(await program.state.readAll()).toEqual(before);
  });
});

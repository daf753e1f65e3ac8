/** What a program promises besides its numbers: state, errors, order, disposal. */
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  chooseEngine,
  compile,
  computing,
  NonFiniteError,
  ProgramStateError,
  spec,
  TraceError,
  type EngineName,
  type EngineWords,
} from "@madformer/engine";
import * as tf from "@tensorflow/tfjs-core";

/** Adds x to a running total and counts. */
const accumulate = (state: { total: tf.Tensor1D; calls: tf.Scalar }, inputs: { x: tf.Tensor1D }) => {
  const total = tf.add(state.total, inputs.x);
  return { state: { total, calls: tf.add(state.calls, 1) }, outputs: { total, mean: tf.mean(total) } };
};
const signature = { state: { total: spec([3]), calls: spec([]) }, inputs: { x: spec([3]) } };
const accumulator = (engine: EngineName, name = "accumulator") => compile(accumulate, signature, { engine, name });

describe.each(["onnx", "cpu"] as const)("a program on engine %s", (engine) => {
  test("keeps its state between runs, starting from zeros", async () => {
    await using program = await accumulator(engine);
    await program.run({ x: [1, 2, 3] });
    const { total, mean } = await program.run({ x: Float32Array.of(10, 20, 30) });
    expect([...total]).toEqual([11, 22, 33]);
    expect([...mean]).toEqual([22]);
    expect([...(await program.state.read("calls"))]).toEqual([2]);
    expect(program.runCount).toBe(2);
  });

  test("starts from the initial state it is given", async () => {
    const initialState = { total: Float32Array.of(1, 1, 1) };
    await using program = await compile(accumulate, signature, { engine, initialState });
    initialState.total.fill(9); // copied: no longer seen
    expect([...(await program.run({ x: [0, 0, 1] })).total]).toEqual([1, 1, 2]);
  });

  test("lets its state be read and replaced by name, in either buffer", async () => {
    await using program = await accumulator(engine);
    for (let run = 0; run < 3; run++) {
      await program.state.write("total", [run, 0, 0]);
      expect([...(await program.run({ x: [0, 1, 0] })).total]).toEqual([run, 1, 0]);
    }
    const saved = await program.state.readAll();
    await program.run({ x: [5, 5, 5] });
    await program.state.writeAll(saved);
    expect(await program.state.readAll()).toEqual(saved);
    expect(program.state.names).toEqual(["total", "calls"]);
  });

  test("gives outputs that later runs and writes do not change", async () => {
    await using program = await accumulator(engine);
    const first = await program.run({ x: [1, 1, 1] });
    const before = await program.state.read("total");
    await program.run({ x: [1, 1, 1] });
    await program.run({ x: [1, 1, 1] });
    expect([...first.total]).toEqual([1, 1, 1]);
    expect([...before]).toEqual([1, 1, 1]);
  });

  test("leaves alone the state that the function does not return, or returns as it came", async () => {
    const fn = ({ a, b, c }: { a: tf.Scalar; b: tf.Scalar; c: tf.Scalar }) => ({
      state: { a: tf.add(a, 1), b },
      outputs: { sum: tf.addN([a, b, c]) },
    });
    const state = { a: spec([]), b: spec([]), c: spec([]) };
    await using program = await compile(fn, { state }, { engine, initialState: { b: 10, c: 100 } });
    for (const expected of [110, 111, 112]) expect([...(await program.run({})).sum]).toEqual([expected]);
    expect(await program.state.readAll()).toEqual({
      a: Float32Array.of(3),
      b: Float32Array.of(10),
      c: Float32Array.of(100),
    });
  });

  test("swaps state that the function swaps", async () => {
    const state = { a: spec([2]), b: spec([2]) };
    const swap = ({ a, b }: { a: tf.Tensor; b: tf.Tensor }) => ({ state: { a: b, b: a }, outputs: {} });
    await using program = await compile(swap, { state }, { engine, initialState: { a: [1, 2], b: [3, 4] } });
    await program.run({});
    expect(await program.state.readAll()).toEqual({ a: Float32Array.of(3, 4), b: Float32Array.of(1, 2) });
    await program.run({});
    expect(await program.state.readAll()).toEqual({ a: Float32Array.of(1, 2), b: Float32Array.of(3, 4) });
  });

  test("takes nested trees, int32 and bool, and scalars as numbers", async () => {
    const inputs = { pair: { n: spec([2], "int32"), keep: spec([2], "bool") }, scale: spec([]) };
    await using program = await compile(
      (_state, { pair, scale }) => ({
        outputs: {
          deep: { picked: tf.where(pair.keep, tf.mul(tf.cast(pair.n, "float32"), scale), tf.zeros([2])) },
          n: tf.add(pair.n, tf.scalar(1, "int32")),
        },
      }),
      { inputs },
      { engine, name: "trees" },
    );
    const result = await program.run({ pair: { n: Int32Array.of(3, 4), keep: [0, 1] }, scale: 2.5 });
    expect(result.deep.picked).toEqual(Float32Array.of(0, 10));
    expect(result.n).toEqual(Int32Array.of(4, 5));
  });

  test("treats weights given as constants as part of itself", async () => {
    const fn = (state: { w: tf.Tensor2D; b: tf.Tensor1D }, { x }: { x: tf.Tensor2D }) => ({
      outputs: { y: tf.add(tf.matMul(x, state.w), state.b) },
    });
    const state = { w: spec([2, 2]), b: spec([2]) };
    const constants = { w: Float32Array.of(1, 2, 3, 4), b: [10, 20] };
    await using program = await compile(fn, { state, inputs: { x: spec([1, 2]) } }, { engine, constants });
    expect([...(await program.run({ x: [1, 1] })).y]).toEqual([14, 26]);
    expect(program.state.names).toEqual([]);
  });

  test("says what was given and what was expected when an input does not fit", async () => {
    await using program = await accumulator(engine);
    const run = (inputs: unknown): Promise<unknown> => program.run(inputs as never);
    await expect(run({ x: [1, 2] })).rejects.toThrow(
      new RangeError('Program "accumulator": "x" has 2 elements, expected float32(3), 3 elements'),
    );
    await expect(run({ x: Int32Array.of(1, 2, 3) })).rejects.toThrow(
      new TypeError(
        'Program "accumulator": "x" is a Int32Array of 3 elements, expected float32(3), 3 elements as Float32Array',
      ),
    );
    await expect(run({ x: 1 })).rejects.toThrow(RangeError);
    await expect(run({})).rejects.toThrow(
      new TypeError('Program "accumulator": input "x" is missing; its inputs are "x"'),
    );
    await expect(run({ x: [1, 2, 3], y: [1] })).rejects.toThrow(
      new TypeError('Program "accumulator" has no input "y"; its inputs are "x"'),
    );
    await expect(run({ x: { deeper: [1, 2, 3] } })).rejects.toThrow(TypeError);
    await expect(run({ x: "123" })).rejects.toThrow(TypeError);
    expect([...(await program.run({ x: [1, 2, 3] })).total]).toEqual([1, 2, 3]); // none of them ran
  });

  test("names the state it has when asked for other state, and writes all or nothing", async () => {
    await using program = await accumulator(engine);
    await expect(program.state.read("totl")).rejects.toThrow(
      new RangeError('Program "accumulator" has no state "totl"; it has "total", "calls"'),
    );
    await expect(program.state.writeAll({ total: [1, 2, 3], calls: [1, 2] })).rejects.toThrow(RangeError);
    expect([...(await program.state.read("total"))]).toEqual([0, 0, 0]);
  });

  test("names the first bad tensor when a result is not finite, and keeps its state", async () => {
    const fn = ({ s }: { s: tf.Tensor1D }, { x }: { x: tf.Tensor1D }) => ({
      state: { s: tf.add(s, tf.log(x)) },
      outputs: { fine: tf.abs(x), root: tf.sqrt(x) },
    });
    const small = { state: { s: spec([2]) }, inputs: { x: spec([2]) } };
    await using outputs = await compile(fn, small, { engine, name: "roots", checkFinite: "outputs" });
    await outputs.run({ x: [1, 4] });
    const failure = await outputs.run({ x: [1, -4] }).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(NonFiniteError);
    expect(failure).toMatchObject({ program: "roots", tensor: "root", index: 1, runs: 1 });
    expect((failure as Error).message).toBe(
      'Program "roots": "root" is NaN at element 1, in run 2; the state was not changed',
    );
    await outputs.run({ x: [0, 1] }); // the state, -Infinity, is not looked at
    expect([...(await outputs.state.read("s"))]).toEqual([-Infinity, Math.fround(Math.log(4))]);

    await using all = await compile(fn, small, { engine, name: "roots", checkFinite: "all" });
    await expect(all.run({ x: [0, 1] })).rejects.toMatchObject({ tensor: "s", index: 0 });
    expect([...(await all.state.read("s"))]).toEqual([0, 0]);
  });

  test("runs in the order of the calls, also when they overlap", async () => {
    await using program = await accumulator(engine);
    const runs = Array.from({ length: 20 }, (_, i) => program.run({ x: new Float32Array(3).fill(i) }));
    const totals = (await Promise.all(runs)).map(({ total }) => total[0]);
    expect(totals).toEqual(Array.from({ length: 20 }, (_, i) => (i * (i + 1)) / 2));
  });

  test("sees what its inputs hold at each run, whether the array is the same or another", async () => {
    await using program = await compile(
      (_state, { x }) => ({ outputs: { y: tf.mul(x, 2) } }),
      { inputs: { x: spec([2]) } },
      { engine },
    );
    const x = Float32Array.of(1, 2);
    expect([...(await program.run({ x })).y]).toEqual([2, 4]);
    x.set([3, 4]);
    expect([...(await program.run({ x })).y]).toEqual([6, 8]);
    expect([...(await program.run({ x: Float32Array.of(5, 6) })).y]).toEqual([10, 12]);
    expect([...(await program.run({ x: new Float32Array([0, 7, 8]).subarray(1) })).y]).toEqual([14, 16]);
    expect([...(await program.run({ x })).y]).toEqual([6, 8]);
  });

  test("refuses its state while it runs", async () => {
    await using program = await accumulator(engine);
    const run = program.run({ x: [1, 1, 1] });
    await expect(program.state.read("total")).rejects.toThrow(ProgramStateError);
    await run;
    expect([...(await program.state.read("total"))]).toEqual([1, 1, 1]);
  });

  test("goes on after a run that failed", async () => {
    await using program = await compile(
      (_state, { x, i }) => ({ outputs: { y: tf.gather(x, i) } }),
      { inputs: { x: spec([3]), i: spec([1], "int32") } },
      { engine, name: "gather" },
    );
    if (engine === "onnx")
      await expect(program.run({ x: [1, 2, 3], i: [7] })).rejects.toThrow(
        /Program "gather" failed while it ran \(run 1\):.*indices/,
      );
    expect([...(await program.run({ x: [1, 2, 3], i: [2] })).y]).toEqual([3]);
  });

  test("can be disposed twice, ends its runs first, and refuses everything afterwards", async () => {
    const program = await accumulator(engine);
    const run = program.run({ x: [1, 2, 3] });
    const disposals = [program.dispose(), program.dispose()];
    expect([...(await run).total]).toEqual([1, 2, 3]);
    await Promise.all(disposals);
    await program.dispose();
    await expect(program.run({ x: [1, 2, 3] })).rejects.toThrow(
      new ProgramStateError('Cannot run: program "accumulator" was disposed'),
    );
    await expect(program.state.read("total")).rejects.toThrow(ProgramStateError);
    await expect(program.state.write("total", [1, 2, 3])).rejects.toThrow(ProgramStateError);
  });

  test("refuses a function that returns state of another name or shape", async () => {
    const state = { a: spec([2]) };
    const other = compile(({ a }) => ({ state: { b: a }, outputs: {} }), { state }, { engine, name: "f" });
    await expect(other).rejects.toThrow(
      new TraceError('Program "f" returns state "b", which its signature does not have'),
    );
    const longer = compile(
      ({ a }) => ({ state: { a: tf.tile(a, [2]) }, outputs: {} }),
      { state },
      { engine, name: "f" },
    );
    await expect(longer).rejects.toThrow(
      new TraceError('Program "f" returns state "a" as float32(4), expected float32(2)'),
    );
  });
});

describe("two programs", () => {
  test("run side by side without disturbing each other", async () => {
    const square = async (side: number) =>
      compile(
        ({ s }, { x }) => ({ state: { s: tf.add(s, tf.matMul(x, x)) }, outputs: { y: tf.sum(tf.matMul(x, x)) } }),
        {
          state: { s: spec([side, side]) },
          inputs: { x: spec([side, side]) },
        },
      );
    await using small = await square(8);
    await using large = await square(96);
    const ones = (side: number): Float32Array => new Float32Array(side * side).fill(1);
    const runs = Array.from({ length: 10 }, () => [small.run({ x: ones(8) }), large.run({ x: ones(96) })]).flat();
    const results = (await Promise.all(runs)).map(({ y }) => y[0]);
    expect(results).toEqual(Array.from({ length: 10 }, () => [8 ** 3, 96 ** 3]).flat());
    expect((await small.state.read("s"))[0]).toBe(80);
    expect((await large.state.read("s"))[0]).toBe(960);
  });
});

describe("chooseEngine()", () => {
  const VARIABLES = ["MADFORMER_ENGINE", "MADFORMER_PRECISION", "MADFORMER_THREADS"];
  const before = VARIABLES.map((name) => [name, process.env[name]] as const);
  beforeEach(() => VARIABLES.forEach((name) => Reflect.deleteProperty(process.env, name)));
  afterAll(() => before.forEach(([name, value]) => value !== undefined && (process.env[name] = value)));

  test("takes the words, then the variables, then onnx in its usual precision", () => {
    expect(chooseEngine()).toEqual({ engine: "onnx", precision: "float32" });
    process.env["MADFORMER_ENGINE"] = "cpu";
    process.env["MADFORMER_THREADS"] = "3";
    expect(chooseEngine()).toEqual({ engine: "cpu", precision: "float32", threads: 3 });
    expect(chooseEngine({ engine: "onnx", threads: 1 })).toEqual({ engine: "onnx", precision: "float32", threads: 1 });
    process.env["MADFORMER_ENGINE"] = "";
    expect(chooseEngine().engine).toBe("onnx");
  });

  test("says which engines, precisions and numbers of threads there are when it is given another", () => {
    const wrong = (words: EngineWords, message: string) =>
      expect(() => chooseEngine(words)).toThrow(new RangeError(message));
    wrong({ engine: "webgl" }, 'the engine is "webgl", expected one of "onnx", "openvino", "xla", "tensorflow", "cpu"');
    wrong({ precision: "fp16" }, 'the precision is "fp16", expected what the engine "onnx" has: "float32"');
    wrong({ threads: 0 }, "threads are 0, expected a whole number from 1 to 1024");
    process.env["MADFORMER_ENGINE"] = "cuda";
    wrong({}, 'MADFORMER_ENGINE is "cuda", expected one of "onnx", "openvino", "xla", "tensorflow", "cpu"');
    process.env["MADFORMER_ENGINE"] = "cpu";
    process.env["MADFORMER_PRECISION"] = "bf16";
    wrong({}, 'MADFORMER_PRECISION is "bf16", expected what the engine "cpu" has: "float32"');
    delete process.env["MADFORMER_PRECISION"];
    process.env["MADFORMER_THREADS"] = "two";
    wrong({}, 'MADFORMER_THREADS is "two", expected a whole number from 1 to 1024');
  });

  test("is told once for everything that is compiled in `computing.within`, whatever the variables say", async () => {
    process.env["MADFORMER_ENGINE"] = "onnx";
    const engines = await computing.within({ engine: "cpu", precision: "float32", threads: 2 }, async () => {
      await new Promise((done) => setTimeout(done, 1));
      await using program = await compile(accumulate, signature);
      await using other = await compile(accumulate, signature, { engine: "onnx" });
      return [program.engine, other.engine, chooseEngine().threads];
    });
    expect(engines).toEqual(["cpu", "onnx", 2]);
    expect(chooseEngine()).toEqual({ engine: "onnx", precision: "float32" });
  });
});

describe("compile()", () => {
  test("names the program when the runtime cannot load it", async () => {
    const session = { config: { "": "a key must not be empty" } };
    const failing = compile(accumulate, signature, { name: "unloadable", session });
    await expect(failing).rejects.toThrow(/^Program "unloadable" failed while it was loaded: /);
  });

  test("runs on the calling thread where it is asked to, with the same results", async () => {
    await using program = await compile(accumulate, signature, { session: { blocking: true } });
    await program.run({ x: [1, 2, 3] });
    expect([...(await program.run({ x: [1, 2, 3] })).total]).toEqual([2, 4, 6]);
  });

  test("refuses signatures that are not static trees", async () => {
    const fn = () => ({ outputs: {} });
    await expect(compile(fn, { inputs: { x: spec([-1, 2]) } }, { name: "f" })).rejects.toThrow(
      new RangeError('Program "f", inputs: "x" has shape (-1, 2), expected whole numbers; shapes are static'),
    );
    await expect(compile(fn, { inputs: { "a/b": spec([1]) } }, { name: "f" })).rejects.toThrow(
      /name "a\/b" is empty or holds "\/"/,
    );
    await expect(compile(fn, { inputs: { x: 3 as never } }, { name: "f" })).rejects.toThrow(TypeError);
  });

  test("writes its graphs as text where it is asked to, with the scopes of tfjs", async () => {
    const folder = await mkdtemp(join(tmpdir(), "madformer-dump-"));
    const fn = (_state: object, { x }: { x: tf.Tensor1D }) => ({
      outputs: { y: tf.tidy("doubling", () => tf.mul(x, 2)) },
    });
    await using _program = await compile(fn, { inputs: { x: spec([3]) } }, { name: "a/b", dump: folder });
    expect((await readdir(folder)).sort()).toEqual(["a_b.optimized.txt", "a_b.passes.txt", "a_b.traced.txt"]);
    const text = await readFile(join(folder, "a_b.optimized.txt"), "utf8");
    expect(text).toMatch(/float32\(3\) = .*mul.*# doubling\/mul/);
    await rm(folder, { recursive: true });
  });

  test("refuses constants that are not in the signature, or do not fit it", async () => {
    const f = (constants: object) => compile(accumulate, signature, { name: "f", constants });
    await expect(f({ w: [1] })).rejects.toThrow(
      new RangeError('Program "f": constant "w" is not in the state of its signature'),
    );
    await expect(f({ total: [1] })).rejects.toThrow(
      new RangeError('Program "f": "total" has 1 elements, expected float32(3), 3 elements'),
    );
  });
});

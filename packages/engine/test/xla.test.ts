/** What is peculiar to XLA; what every engine does is tested where `INSTALLED` stands. */
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { jest } from "@jest/globals";
import {
  compile,
  compileInference,
  ProgramFailedError,
  ProgramStateError,
  spec,
  type PrecisionName,
} from "@madformer/engine";
import * as tf from "@tensorflow/tfjs-core";
import { Client } from "../src/backends/xla/client.js";
import { encodeCompileOptions } from "../src/backends/xla/compile-options.js";
import { Executable } from "../src/backends/xla/executable.js";
import { cache } from "../src/backends/xla/load.js";
import { Plugin } from "../src/backends/xla/plugin.js";
import { xlaRuntime } from "../src/backends/xla/runtime.js";
import { describeInstalled } from "./installed.js";
import { regressionOn } from "./regression.js";
import { expectClose, TOLERANCE } from "./tolerance.js";
import { Draws } from "./values.js";

const draws = new Draws("xla");
const [W0, X, Y] = [draws.normal([64, 64]).data, draws.normal([128, 64]).data, draws.normal([128, 64]).data];

const regression = (precision: PrecisionName = "float32", engine: "xla" | "cpu" = "xla") =>
  regressionOn(engine, engine === "cpu" ? "float32" : precision, W0);

async function train(precision: PrecisionName): Promise<number[]> {
  await using program = await regression(precision);
  const losses: number[] = [];
  for (let step = 0; step < 20; step++) losses.push((await program.run({ x: X, y: Y })).loss[0]!);
  return [...losses, ...(await program.state.read("w"))];
}

/** A sum that is kept, and sixteen elements of it. */
const summing = (engine: "xla" = "xla") =>
  compile(
    ({ total }: { total: tf.Tensor1D }, { x }: { x: tf.Tensor1D }) => {
      const next = tf.add(total, x);
      return { state: { total: next }, outputs: { first: tf.slice(next, 0, 1) } };
    },
    { state: { total: spec([16]) }, inputs: { x: spec([16]) } },
    { engine, name: "summing" },
  );
const ones = new Float32Array(16).fill(1);

afterEach(() => jest.restoreAllMocks());

describeInstalled("xla", () => {
  test.each(["float32", "tf32", "bf16"] as const)("repeats a training in %s to the last bit", async (precision) => {
    expect(await train(precision)).toEqual(await train(precision));
  });

  test("computes what tfjs does in float32, and rounds products where that is asked for", async () => {
    await using oracle = await regression("float32", "cpu");
    await using exact = await regression();
    await using rounded = await regression("bf16");
    const [{ loss }, found, rough] = [
      await oracle.run({ x: X, y: Y }),
      await exact.run({ x: X, y: Y }),
      await rounded.run({ x: X, y: Y }),
    ];
    expectClose(found.loss, loss, TOLERANCE.network);
    const error = Math.abs(rough.loss[0]! - loss[0]!) / loss[0]!;
    expect(error).toBeGreaterThan(1e-6);
    expect(error).toBeLessThan(1e-2);
  });

  test("writes the next state over the state, unless somebody is shown it", async () => {
    const run = jest.spyOn(Executable.prototype, "run");
    await using program = await summing();
    const state = () => run.mock.calls.at(-1)![0][0]!;
    const isGone = (): Promise<boolean> => {
      const buffer = state();
      return xlaRuntime().client.exclusive(() => xlaRuntime().client.isDeleted(buffer));
    };
    const release = jest.spyOn(Client.prototype, "destroy").mockImplementation(() => undefined); // to be looked at
    await program.run({ x: ones });
    expect(await isGone()).toBe(true);
    using shown = program.state.handle("total");
    expect([...(await shown.read())]).toEqual([...ones]);
    await program.run({ x: ones });
    expect(await isGone()).toBe(false);
    await program.run({ x: ones });
    expect(await isGone()).toBe(true);
    release.mockRestore();
    expect([...(await program.state.read("total"))]).toEqual(Array(16).fill(3));
  });

  test("knows before the first run what memory a program takes", async () => {
    const made = jest.spyOn(Executable, "compile");
    await using program = await regression();
    const memory = ((await made.mock.results.at(-1)!.value) as Executable).memory()!;
    expect(memory.arguments).toBe(4 * (64 * 64 + 1 + 2 * 128 * 64));
    expect(memory.alias).toBe(4 * (64 * 64 + 1)); // all of the state, and no input
    expect(memory.temporary).toBeGreaterThan(0);
    expect(program.runCount).toBe(0);
    const huge = compile(
      () => ({ outputs: { y: tf.fill([1 << 20, 1 << 20], 1) } }),
      {},
      { engine: "xla", name: "huge" },
    );
    await expect(huge).rejects.toThrow(/Program "huge" needs 4096\.0 GiB of the device's memory, which has \d+/);
  });

  test("says what a failed run took with it, and goes on from state that it is given again", async () => {
    await using program = await summing();
    await program.run({ x: ones });
    const run = Reflect.get(Executable.prototype, "run") as (...args: unknown[]) => Promise<never>;
    jest.spyOn(Executable.prototype, "run").mockImplementationOnce(async function (this: Executable, ...args) {
      await Reflect.apply(run, this, args); // the state is donated,
      throw new Error("the card fell off"); // and then
    });
    const failure = await program.run({ x: ones }).catch((error: unknown) => error as Error);
    expect(failure).toBeInstanceOf(ProgramFailedError);
    expect((failure as Error).message).toContain("the card fell off");
    await expect(program.state.read("total")).rejects.toThrow(ProgramStateError);
    await expect(program.run({ x: ones })).rejects.toThrow(
      'a run that failed took the state "total" with it, and it has to be written again: the card fell off',
    );
    await program.state.write("total", new Float32Array(16).fill(5));
    expect([...(await program.run({ x: ones })).first]).toEqual([6]);
  });

  test("finds out about a run that fails after it was started", async () => {
    await using program = await summing();
    await program.run({ x: ones }, { handles: ["first"] }).then(({ first }) => first.dispose());
    jest.spyOn(Client.prototype, "wait").mockRejectedValue(new Error("the card fell off"));
    await expect(program.run({ x: ones })).rejects.toThrow(ProgramFailedError);
    jest.restoreAllMocks();
    await expect(program.state.read("total")).rejects.toThrow(ProgramStateError);
    await program.state.clear("total");
    expect([...(await program.run({ x: ones })).first]).toEqual([1]);
  });

  test("keeps its state where results are looked at and a run is taken back", async () => {
    await using program = await compile(
      ({ s }: { s: tf.Tensor1D }, { x }: { x: tf.Tensor1D }) => ({
        state: { s: tf.add(s, x) },
        outputs: { r: tf.sqrt(x) },
      }),
      { state: { s: spec([2]) }, inputs: { x: spec([2]) } },
      { engine: "xla", checkFinite: "all" },
    );
    await program.run({ x: [1, 4] });
    await expect(program.run({ x: [1, -4] })).rejects.toThrow("the state was not changed");
    expect([...(await program.state.read("s"))]).toEqual([1, 4]);
    expect([...(await program.run({ x: [1, 1] })).r]).toEqual([1, 1]);
    expect([...(await program.state.read("s"))]).toEqual([2, 5]);
  });

  test("starts the next run before the results of the one before are read", async () => {
    await using program = await summing();
    const started = jest.spyOn(Executable.prototype, "run");
    const wait = Reflect.get<Client, "wait">(Client.prototype, "wait");
    let open: () => void = () => undefined;
    const opened = new Promise<void>((resolve) => (open = resolve));
    jest.spyOn(Client.prototype, "wait").mockImplementationOnce(async function (this: Client, event) {
      await opened; // the first result is not there for as long as
      return Reflect.apply(wait, this, [event]);
    });
    const [first, second] = [program.run({ x: ones }), program.run({ x: ones })];
    while (started.mock.calls.length < 2) await new Promise((resolve) => setImmediate(resolve));
    open(); // the second run has not begun
    expect([...(await first).first, ...(await second).first]).toEqual([1, 2]);
  });

  test("gives hundreds of results that are waited for at the same time", async () => {
    const count = 300; // koffi makes 256 calls at once
    await using program = await compile(
      (_, { x }) => {
        let y: tf.Tensor2D = x;
        for (let i = 0; i < 8; i++) y = tf.tanh(tf.matMul(y, x)); // some time until the first is there
        const all = Array.from({ length: count }, (_, i) => [`y${i}`, tf.add(tf.slice(y, 0, 1), i)] as const);
        return { outputs: Object.fromEntries<tf.Tensor>(all) };
      },
      { inputs: { x: spec([1024, 1024]) } },
      { engine: "xla", name: "many" },
    );
    const results = Object.values(await program.run({ x: new Float32Array(1024 * 1024) }));
    expect(results.map((data) => data[0])).toEqual(Array.from({ length: count }, (_, i) => i));
  });

  test("makes no two calls at once, but for waiting", async () => {
    let underWay = 0;
    const seen: number[] = [];
    const invokeAsync = Reflect.get(Plugin.prototype, "invokeAsync") as (...args: unknown[]) => Promise<void>;
    jest.spyOn(Plugin.prototype, "invokeAsync").mockImplementation(async function (this: Plugin, name, args) {
      if (name === "Event_Await") return Reflect.apply(invokeAsync, this, [name, args]);
      seen.push(++underWay);
      try {
        await Reflect.apply(invokeAsync, this, [name, args]);
      } finally {
        underWay--;
      }
    });
    const programs = await Promise.all([summing(), summing(), summing()]);
    await Promise.all(programs.flatMap((program) => [1, 2, 3].map(() => program.run({ x: ones }))));
    for (const program of programs) await program.dispose();
    expect(seen.length).toBeGreaterThanOrEqual(12);
    expect(Math.max(...seen)).toBe(1);
  });

  test("sends large constants once, beside a program that knows nothing of them", async () => {
    const weights = { w: { shape: [128, 128], data: draws.normal([128, 128]).data as Float32Array } };
    const compiled = jest.spyOn(Executable, "compile");
    const uploaded = jest.spyOn(Client.prototype, "upload");
    const make = (engine: "xla" | "cpu") =>
      compileInference(({ w }, { x }) => ({ y: tf.matMul(x, w) }), weights, { x: spec([4, 128]) }, { engine });
    const destroyed = jest.spyOn(Client.prototype, "destroy");
    await using oracle = await make("cpu");
    const x = draws.normal([4, 128]).data;
    const program = await make("xla");
    expect(uploaded.mock.calls.map(([, shape]) => shape)).toEqual([[128, 128]]);
    // 65,536 bytes as text would be twice as many.
    for (const [, text] of compiled.mock.calls) expect(text.byteLength).toBeLessThan(10_000);
    expect(compiled).toHaveBeenCalledTimes(1);
    const { y: expected } = await oracle.run({ x });
    for (let run = 0; run < 2; run++) expectClose((await program.run({ x })).y, expected, TOLERANCE.network);
    expect(uploaded).toHaveBeenCalledTimes(3); // and x, twice
    const [made] = uploaded.mock.results.map(({ value }) => value as { pointer: bigint });
    expect(destroyed.mock.calls.flat()).not.toContain(made?.pointer);
    await program.dispose();
    expect(destroyed.mock.calls.flat()).toContain(made?.pointer);
  });

  test("names what XLA says of a program that it does not take, with its code", async () => {
    const { client } = xlaRuntime();
    const compiling = client.exclusive(() =>
      Executable.compile(client, Buffer.from("module { nonsense }"), encodeCompileOptions(), 0, []),
    );
    await expect(compiling).rejects.toThrow(/^XLA: Client_Compile: [A-Z_]+: .*'nonsense' is unknown/s);
    const options = encodeCompileOptions({ no_such_flag: true });
    const text = Buffer.from("module @m { func.func public @main() { return } }");
    const refused = client.exclusive(() => Executable.compile(client, text, options, 0, []));
    await expect(refused).rejects.toMatchObject({ name: "PjrtError", code: "INVALID_ARGUMENT" });
    await expect(refused).rejects.toThrow("no_such_flag");
  });

  test("computes on one thread where that is asked for", async () => {
    const x = new Float32Array(1 << 16).fill(0.5);
    await using program = await compile(
      (_state, { x }) => ({ outputs: { y: tf.matMul(x, x) } }),
      { inputs: { x: spec([256, 256]) } },
      { engine: "xla", session: { threads: 1 } },
    );
    expect((await program.run({ x })).y[0]).toBe(64);
  });

  test("takes no more memory after 1,000 runs", async () => {
    await using program = await regression();
    const run = async (times: number): Promise<number> => {
      for (let i = 0; i < times; i++) (await program.run({ x: X, y: Y }, { handles: ["loss"] })).loss.dispose();
      return process.memoryUsage.rss();
    };
    const before = await run(200);
    expect((await run(1000)) - before).toBeLessThan(32 << 20);
  }, 180_000);

  test("keeps what it compiled, compiles nothing the second time, and passes over a damaged file", async () => {
    const folder = await mkdtemp(join(tmpdir(), "xla-"));
    const weights = Array.from({ length: 12 }, () => draws.normal([32, 32]).data); // 8 KiB each of the program's text
    const make = () =>
      compile(
        ({ w }, { x }) => ({ outputs: { y: Object.values(w).reduce((y, w) => tf.matMul(y, w), x) } }),
        {
          state: { w: Object.fromEntries(weights.map((_, i) => [`w${i}`, spec([32, 32])])) },
          inputs: { x: spec([32, 32]) },
        },
        {
          engine: "xla",
          constants: { w: Object.fromEntries(weights.map((data, i) => [`w${i}`, data])) },
          name: "cached",
        },
      );
    const compiled = jest.spyOn(Executable, "compile");
    cache.moveTo(folder);
    try {
      const x = draws.normal([32, 32]).data;
      const results: Float32Array[] = [];
      for (const [damage, compilations] of [
        [false, 1],
        [false, 1],
        [true, 2],
      ] as const) {
        const [file] = await readdir(folder);
        if (damage) await writeFile(join(folder, file!), "damaged");
        await using program = await make();
        results.push((await program.run({ x })).y as Float32Array);
        expect(compiled).toHaveBeenCalledTimes(compilations);
        expect(await readdir(folder)).toHaveLength(1);
      }
      expect(results[1]).toEqual(results[0]);
      expect(results[2]).toEqual(results[0]);
    } finally {
      cache.moveTo(undefined);
      await rm(folder, { recursive: true, force: true });
    }
  });
});

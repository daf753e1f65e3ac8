/** Tensors that stay where the engine has them, and go from program to program. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { jest } from "@jest/globals";
import {
  compile,
  HandleError,
  hostCopies,
  NonFiniteError,
  spec,
  type EngineName,
  type Handle,
} from "@madformer/engine";
import * as tf from "@tensorflow/tfjs-core";
import { ortLibrary } from "../src/backends/onnx/ort-library.js";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

/** y = 2x, and the sum of x; state that nothing changes, state that each run changes. */
const doubling = (engine: EngineName, size = 3) =>
  compile(
    ({ fixed, total }: { fixed: tf.Tensor1D; total: tf.Tensor1D }, { x }: { x: tf.Tensor1D }) => ({
      state: { total: tf.add(total, x) },
      outputs: { y: tf.mul(x, 2), parts: { sum: tf.sum(x), shifted: tf.add(x, fixed) } },
    }),
    { state: { fixed: spec([size]), total: spec([size]) }, inputs: { x: spec([size]) } },
    { engine, name: "doubling" },
  );

/** y = x + 1. */
const adding = (engine: EngineName, size = 3) =>
  compile(
    (_state, { x }) => ({ outputs: { y: tf.add(x, 1) } }),
    { inputs: { x: spec([size]) } },
    { engine, name: "adding" },
  );

/** Runs that others have to wait for. */
const keepBusy = (program: Awaited<ReturnType<typeof adding>>): Promise<unknown> =>
  Promise.all(Array.from({ length: 50 }, () => program.run({ x: [0, 0, 0] })));

/** Copies between the host and the engine while something is done. */
async function copiesDuring(task: () => Promise<unknown>): Promise<number> {
  const before = hostCopies().count;
  await task();
  return hostCopies().count - before;
}

describe.each(["onnx", "cpu"] as const)("a handle of engine %s", (engine) => {
  test("is what a run gives where it is asked for by name, with everything under that name", async () => {
    await using program = await doubling(engine);
    const { y, parts } = await program.run({ x: [1, 2, 3] }, { handles: ["parts"] });
    expect([...y]).toEqual([2, 4, 6]);
    const { sum, shifted } = parts satisfies Record<string, Handle>;
    expect(sum).toMatchObject({ name: "doubling: parts/sum", engine, dtype: "float32", shape: [] });
    expect([...(await sum.read())]).toEqual([6]);
    expect([...(await shifted.read())]).toEqual([1, 2, 3]);
    sum.dispose();
    shifted.dispose();
    await expect(program.run({ x: [1, 2, 3] }, { handles: ["z" as "y"] })).rejects.toThrow(
      new RangeError('Program "doubling" has no output "z"; its outputs are "y", "parts"'),
    );
  });

  test("goes from one program to another without a copy to the host", async () => {
    await using first = await doubling(engine);
    await using second = await adding(engine);
    const x = Float32Array.of(1, 2, 3);
    let result: Handle | undefined;
    const copies = await copiesDuring(async () => {
      const { y, parts } = await first.run({ x }, { handles: ["y", "parts"] });
      const next = await second.run({ x: y }, { handles: ["y"] });
      result = next.y;
      for (const handle of [y, parts.sum, parts.shifted]) handle.dispose();
    });
    expect(copies).toBe(0);
    expect([...((await result?.read()) ?? [])]).toEqual([3, 5, 7]);
    result?.dispose();
  });

  test("keeps its elements through later runs, and after its program has ended", async () => {
    const program = await doubling(engine);
    const kept = [];
    for (let run = 0; run < 4; run++) kept.push((await program.run({ x: [run, 0, 1] }, { handles: ["y"] })).y);
    await program.run({ x: [9, 9, 9] });
    await program.dispose();
    for (const [run, handle] of kept.entries()) {
      expect([...(await handle.read())]).toEqual([2 * run, 0, 2]);
      handle.dispose();
    }
  });

  test("becomes state, and may be disposed then", async () => {
    await using first = await doubling(engine);
    await using second = await doubling(engine);
    const { y } = await first.run({ x: [1, 2, 3] }, { handles: ["y"] });
    const copies = await copiesDuring(async () => {
      await second.state.writeAll({ fixed: y, total: y });
      y.dispose();
    });
    expect(copies).toBe(0);
    await first.run({ x: [7, 7, 7] }, { handles: ["y"] }); // does not reach what was handed on
    for (let run = 1; run <= 3; run++) {
      expect([...(await second.run({ x: [1, 0, 0] })).parts.shifted]).toEqual([3, 4, 6]);
      expect([...(await second.state.read("total"))]).toEqual([2 + run, 4, 6]);
      expect([...(await second.state.read("fixed"))]).toEqual([2, 4, 6]);
    }
    await second.state.write("fixed", [1, 1, 1]);
    expect([...(await second.run({ x: [0, 0, 0] })).parts.shifted]).toEqual([1, 1, 1]);
  });

  test("shows the state of a program until that runs again or is written to", async () => {
    await using owner = await doubling(engine);
    await using other = await adding(engine);
    await owner.run({ x: [1, 2, 3] });
    const total = owner.state.handle("total");
    const fixed = owner.state.handles("fixed");
    expect(await copiesDuring(() => other.run({ x: total }, { handles: ["y"] }))).toBe(0);
    expect([...(await other.run({ x: total })).y]).toEqual([2, 3, 4]);
    const reading = other.run({ x: total }); // what reads it when its program runs again reads what it was
    await owner.run({ x: [1, 1, 1] });
    expect([...(await reading).y]).toEqual([2, 3, 4]);
    const ended = 'Cannot use handle "doubling: total": its program has run again';
    await expect(total.read()).rejects.toThrow(new HandleError("doubling: total", ended));
    await expect(other.run({ x: total })).rejects.toThrow(ended);
    expect([...(await other.run({ x: owner.state.handle("total") })).y]).toEqual([3, 4, 5]);

    expect([...(await fixed.read())]).toEqual([0, 0, 0]); // which no run changes
    await owner.state.write("fixed", [1, 1, 1]);
    await expect(fixed.read()).rejects.toThrow('Cannot use handle "doubling: fixed": it was written to');
  });

  test("of state that has become another program's has to be replaced when its program has run", async () => {
    await using owner = await doubling(engine);
    await using borrower = await doubling(engine);
    await owner.run({ x: [1, 2, 3] });
    await borrower.state.write("fixed", owner.state.handle("total"));
    expect([...(await borrower.run({ x: [0, 0, 0] })).parts.shifted]).toEqual([1, 2, 3]);
    await owner.run({ x: [1, 1, 1] });
    await expect(borrower.run({ x: [0, 0, 0] })).rejects.toThrow(
      'Cannot use handle "doubling: total": its program has run again',
    );
    await borrower.state.write("fixed", owner.state.handle("total"));
    expect([...(await borrower.run({ x: [0, 0, 0] })).parts.shifted]).toEqual([2, 3, 4]);
  });

  test("of state is what it was for a run that has it, however often its program runs meanwhile", async () => {
    await using owner = await doubling(engine);
    await using other = await adding(engine);
    await owner.run({ x: [1, 2, 3] });
    const before = keepBusy(other);
    const reading = other.run({ x: owner.state.handle("total") });
    for (let run = 0; run < 4; run++) await owner.run({ x: [10, 10, 10] });
    expect([...(await reading).y]).toEqual([2, 3, 4]);
    expect([...(await owner.state.read("total"))]).toEqual([41, 42, 43]);
    await before;
  });

  test("of a program's own state can go into its next run, and two programs can take each other's", async () => {
    await using a = await doubling(engine);
    await using b = await doubling(engine);
    await a.run({ x: [1, 2, 3] });
    await b.run({ x: [10, 10, 10] });
    const [ofA, ofB] = [a.state.handle("total"), b.state.handle("total")];
    await Promise.all([a.run({ x: ofB }), b.run({ x: ofA })]);
    await a.run({ x: a.state.handle("total") });
    expect([...(await a.state.read("total"))]).toEqual([22, 24, 26]);
    expect([...(await b.state.read("total"))]).toEqual([11, 12, 13]);
  });

  test("is refused by name after its end, and where it does not fit", async () => {
    await using program = await doubling(engine);
    await using other = await adding(engine, 4);
    const { y } = await program.run({ x: [1, 2, 3] }, { handles: ["y"] });
    await expect(other.run({ x: y })).rejects.toThrow(
      new TypeError('Program "adding": "x" is handle "doubling: y", float32(3), expected float32(4)'),
    );
    const elsewhere = engine === "onnx" ? "cpu" : "onnx";
    await using foreign = await adding(elsewhere);
    await expect(foreign.run({ x: y })).rejects.toThrow(
      new TypeError(
        `Program "adding": "x" is handle "doubling: y" of engine "${engine}", expected an array or a handle of engine "${elsewhere}"`,
      ),
    );
    y.dispose();
    y.dispose(); // does nothing
    await expect(y.read()).rejects.toThrow(
      new HandleError("doubling: y", 'Cannot read handle "doubling: y": it was disposed'),
    );
    await expect(program.run({ x: y })).rejects.toThrow(
      'Program "doubling": "x" cannot be handle "doubling: y": it was disposed',
    );
    await expect(program.state.write("fixed", y)).rejects.toThrow(HandleError);
    expect([...(await program.run({ x: [1, 1, 1] })).y]).toEqual([2, 2, 2]);
  });

  test("may be disposed while a run reads it", async () => {
    await using first = await doubling(engine);
    await using second = await adding(engine);
    for (let run = 0; run < 3; run++) {
      const { y } = await first.run({ x: [run, 1, 2] }, { handles: ["y"] });
      const before = keepBusy(second);
      const reading = second.run({ x: y });
      y.dispose();
      const overwriting = first.run({ x: [5, 5, 5] }, { handles: ["y"] });
      expect([...(await reading).y]).toEqual([2 * run + 1, 3, 5]);
      (await overwriting).y.dispose();
      await before;
    }
  });
});

test("the state of an optimizer, which lies apart, can be shown and replaced as any other", async () => {
  const names = Array.from({ length: 20 }, (_, i) => `w${i}`);
  const specs = Object.fromEntries(names.map((name) => [name, spec([5])]));
  const make = () =>
    compile(
      ({ w, m }, { g }) => {
        const next = { w: {} as Record<string, tf.Tensor>, m: {} as Record<string, tf.Tensor> };
        for (const name of names) {
          next.m[name] = tf.add(tf.mul(m[name]!, 0.5), tf.tanh(tf.mul(g[name]!, 1)));
          next.w[name] = tf.sub(w[name]!, tf.mul(next.m[name], 0.25));
        }
        return { state: next };
      },
      { state: { w: specs, m: specs }, inputs: { g: specs } },
      { name: "optimizer" },
    );
  await using first = await make();
  await using second = await make();
  const gradients = Object.fromEntries(names.map((name, i) => [name, new Float32Array(5).fill(i)]));
  await first.run({ g: gradients });
  await second.state.writeAll({ w: first.state.handles("w"), m: first.state.handles("m") });
  await first.run({ g: first.state.handles("m") });
  const zeros = Object.fromEntries(names.map((name) => [name, new Float32Array(5)]));
  await second.run({ g: zeros });
  const momentum = Math.fround(Math.tanh(7));
  expect((await second.state.read("m/w7"))[0]).toBeCloseTo(momentum / 2, 6);
  expect((await second.state.read("w/w7"))[0]).toBeCloseTo(-momentum / 4 - momentum / 8, 6);
  await second.state.clear("m");
  expect((await second.state.readAll()).m).toEqual(zeros);
});

/** Counts the tensors that ONNX Runtime has names for. Their elements are arrays, whose loss nobody would notice. */
function countTensors() {
  const [make, release] = [jest.spyOn(ortLibrary(), "make"), jest.spyOn(ortLibrary(), "release")];
  const calls = (spy: { mock: { calls: unknown[][] } }, name: string): number =>
    spy.mock.calls.filter(([called]) => called === name).length;
  return {
    made: () => calls(make, "CreateTensorWithDataAsOrtValue"),
    freed: () => calls(release, "ReleaseValue"),
    [Symbol.dispose]: () => [make, release].forEach((spy) => spy.mockRestore()),
  };
}

describe("memory of an output that is kept", () => {
  const x = Float32Array.of(1, 2, 3);

  test("comes back when its handle is disposed, and is used again", async () => {
    using tensors = countTensors();
    await using first = await doubling("onnx");
    await using second = await adding("onnx");
    const run = async (): Promise<void> => {
      const { y, parts } = await first.run({ x }, { handles: ["y", "parts"] });
      const next = await second.run({ x: y }, { handles: ["y"] });
      for (const handle of [y, next.y, parts.sum, parts.shifted]) handle.dispose();
    };
    for (let i = 0; i < 3; i++) await run();
    const before = [tensors.made(), tensors.freed()];
    for (let i = 0; i < 20; i++) await run();
    expect([tensors.made(), tensors.freed()]).toEqual(before);
  });

  test("is freed once, whoever used it last and whatever ended first", async () => {
    using tensors = countTensors();
    const first = await doubling("onnx");
    const second = await doubling("onnx");
    const keep = async () => (await first.run({ x }, { handles: ["y"] })).y;
    const all = await Promise.all([keep(), keep(), keep(), keep()]);
    const [a, b, c, d] = all;
    a.dispose(); // before its program
    await second.state.writeAll({ fixed: b, total: c }); // as state: of one program until it is replaced,
    b.dispose();
    c.dispose();
    const reading = second.run({ x: d }); // and by a run, which changes the other
    d.dispose();
    await reading;
    await second.state.write("fixed", [0, 0, 0]);
    const late = await keep();
    await first.dispose();
    await second.dispose();
    expect(tensors.made() - tensors.freed()).toBe(1);
    late.dispose(); // after its program
    expect(tensors.made()).toBe(tensors.freed());
  });

  test("is freed with its program where the run that should have made it failed", async () => {
    using tensors = countTensors();
    await using program = await compile(
      (_state, { x }) => ({ outputs: { y: tf.mul(x, 2) } }),
      { inputs: { x: spec([3]) } },
      { checkFinite: "outputs" },
    );
    await expect(program.run({ x: [0, NaN, 0] }, { handles: ["y"] })).rejects.toThrow(NonFiniteError);
    await program.dispose();
    expect(tensors.made()).toBe(tensors.freed());
  });
});

test("nothing leaks over a thousand runs that hand a megabyte on", async () => {
  const size = 1 << 18;
  await using first = await doubling("onnx", size);
  await using second = await adding("onnx", size);
  await using third = await doubling("onnx", size);
  const x = new Float32Array(size).fill(1);
  const run = async (): Promise<void> => {
    const { y, parts } = await first.run({ x }, { handles: ["y", "parts"] });
    const next = await second.run({ x: y }, { handles: ["y"] });
    await third.state.writeAll({ fixed: next.y, total: parts.shifted });
    for (const handle of [y, next.y, parts.sum, parts.shifted]) handle.dispose();
    const { parts: made } = await third.run({ x }, { handles: ["y", "parts"] });
    for (const handle of Object.values(made)) handle.dispose();
  };
  const memory = async (): Promise<number> => {
    for (let i = 0; i < 3; i++) {
      collect();
      await new Promise((resolve) => setImmediate(resolve));
    }
    return process.memoryUsage().rss / 2 ** 20;
  };
  for (let i = 0; i < 100; i++) await run();
  const before = await memory();
  for (let i = 0; i < 1000; i++) await run();
  expect((await memory()) - before).toBeLessThan(64); // of the 7 GiB that went through
}, 120_000);

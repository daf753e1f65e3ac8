import { assemble, Assembly, f64, f64x2, get, i32, repeat, set, sumOfPair, advance } from "./assembler.js";
import { WebAssembly } from "./webassembly.js";

/** The only function of a module, and its memory. */
function load(...functions: Assembly[]) {
  const memory = new WebAssembly.Memory({ initial: 1 });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(assemble(functions)), { env: { memory } });
  return { memory: new Float64Array(memory.buffer), exports: exports as Record<string, (...args: number[]) => number> };
}

describe("assemble()", () => {
  test.each([0, 1, -1, 63, 64, -64, -65, 127, 128, 8191, 8192, -8193, 2 ** 30, -(2 ** 31), 2 ** 31 - 1])(
    "writes the number %d",
    (value) => {
      const f = new Assembly("f", [], "i32");
      f.code = i32.const(value);
      expect(load(f).exports["f"]!()).toBe(value);
    },
  );

  test("runs code as often as a counter says, which may be never", () => {
    const f = new Assembly("f", ["i32"], "f64");
    const [count] = [0];
    const [sum, at] = [f.local("f64"), f.local("i32")];
    f.code = [
      ...repeat(count, set(sum, f64.add(get(sum), f64.load(get(at), 16))), advance(at, i32.const(8))),
      ...get(sum),
    ];
    const { memory, exports } = load(f);
    memory.set([100, 100, 1, 2, 4, 8]);
    expect([0, 1, 3].map((n) => exports["f"]!(n))).toEqual([0, 1, 7]);
  });

  test("exports several functions with parameters of their own", () => {
    const pair = new Assembly("pair", ["i32"], "f64");
    const x = pair.local("v128");
    pair.code = [...set(x, f64x2.load(get(0))), ...sumOfPair(x)];
    const store = new Assembly("store", ["i32", "f64"]);
    store.code = f64x2.store(get(0), 300, f64x2.mul(f64x2.splat(get(1)), f64x2.loadSplat(get(0), 8)));
    const { memory, exports } = load(pair, store);
    memory.set([3, 5]);
    exports["store"]!(4, 2); // the address plus the offset are a multiple of eight, each of them is none
    expect(exports["pair"]!(0)).toBe(8);
    expect([...memory.subarray(37, 41)]).toEqual([0, 0, 0, 0].map((_, i) => (i === 1 || i === 2 ? memory[38] : 0)));
  });
});

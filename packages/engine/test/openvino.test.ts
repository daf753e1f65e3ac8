/** What is peculiar to OpenVINO; what every engine does is tested where `INSTALLED` stands. */
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { compile, computing, spec, type EngineName, type PrecisionName } from "@madformer/engine";
import * as tf from "@tensorflow/tfjs-core";
import { cache } from "../src/backends/openvino/cache.js";
import { describeInstalled } from "./installed.js";
import { regressionOn } from "./regression.js";
import { expectClose, TOLERANCE } from "./tolerance.js";
import { Draws } from "./values.js";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

const draws = new Draws("openvino");
const [W0, X, Y] = [draws.normal([64, 64]).data, draws.normal([128, 64]).data, draws.normal([128, 64]).data];

const regression = (precision: PrecisionName, threads = 2) => regressionOn("openvino", precision, W0, { threads });

async function train(precision: PrecisionName, threads?: number): Promise<number[]> {
  await using program = await regression(precision, threads);
  const losses: number[] = [];
  for (let step = 0; step < 20; step++) losses.push((await program.run({ x: X, y: Y })).loss[0]!);
  return [...losses, ...(await program.state.read("w"))];
}

describeInstalled("openvino", () => {
  test.each(["float32", "bf16"] as const)("repeats a training in %s to the last bit", async (precision) => {
    expect(await train(precision)).toEqual(await train(precision));
  });

  test("rounds products to bfloat16 where that is asked for and the processor can, and says which it was", async () => {
    const { precision } = computing.choose({ engine: "openvino", precision: "bf16" });
    const [exact, rounded] = [await train("float32"), await train("bf16")];
    const worst = Math.max(...exact.map((x, i) => Math.abs(x - rounded[i]!)));
    expect(worst > 1e-6 ? "bf16" : "float32").toBe(precision);
    expect(worst).toBeLessThan(1e-2);
    if (precision === "float32") expect(worst).toBe(0);
  });

  test("multiplies by one constant both ways round", async () => {
    // OpenVINO packs it once. 16 columns: of fewer it packs nothing.
    const fixed = draws.normal([16, 16]).data;
    const make = (engine: EngineName) =>
      compile(
        ({ c }, { x }) => ({ outputs: { there: tf.matMul(x, c), back: tf.matMul(x, c, false, true) } }),
        { state: { c: spec([16, 16]) }, inputs: { x: spec([128, 16]) } },
        { engine, constants: { c: fixed }, name: "both" },
      );
    await using ours = await make("openvino");
    await using oracle = await make("cpu");
    const x = X.slice(0, 128 * 16);
    const [found, expected] = [await ours.run({ x }), await oracle.run({ x })];
    expectClose(found.there, expected.there, TOLERANCE.product);
    expectClose(found.back, expected.back, TOLERANCE.product);
  });

  test("goes on from saved state as if it had not stopped", async () => {
    await using first = await regression("float32");
    for (let step = 0; step < 3; step++) await first.run({ x: X, y: Y });
    const saved = await first.state.readAll();
    await using second = await regression("float32");
    await second.state.writeAll(saved);
    for (let step = 0; step < 3; step++)
      expect((await second.run({ x: X, y: Y })).loss).toEqual((await first.run({ x: X, y: Y })).loss);
    expect(await second.state.readAll()).toEqual(await first.state.readAll());
  });

  test("takes no more memory after 1,000 runs", async () => {
    await using program = await regression("float32");
    const run = async (times: number): Promise<number> => {
      for (let i = 0; i < times; i++) (await program.run({ x: X, y: Y }, { handles: ["loss"] })).loss.dispose();
      return process.memoryUsage.rss();
    };
    const before = await run(200);
    expect((await run(1000)) - before).toBeLessThan(32 << 20);
  });

  test("keeps what it compiled, compiles nothing the second time, and passes over a damaged file", async () => {
    const folder = await mkdtemp(join(tmpdir(), "openvino-"));
    const weights = draws.normal([512, 512]).data;
    const make = () =>
      compile(
        ({ w }, { x }) => ({ outputs: { y: tf.add(tf.matMul(x, w), w) } }),
        { state: { w: spec([512, 512]) }, inputs: { x: spec([512, 512]) } },
        { engine: "openvino", constants: { w: weights }, name: "cached" },
      );
    cache.moveTo(folder);
    try {
      const x = draws.normal([512, 512]).data;
      const results: Float32Array[] = [];
      for (const damage of [false, false, true]) {
        const [file] = await readdir(folder);
        if (damage) await writeFile(join(folder, file!), "damaged");
        await using program = await make();
        // What it was read from is long gone, if nothing keeps it: the blob's memory is taken by others.
        collect();
        const others = Array.from({ length: 64 }, () => Buffer.alloc(1 << 20, 0xff));
        results.push((await program.run({ x })).y as Float32Array);
        expect(others).toHaveLength(64);
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

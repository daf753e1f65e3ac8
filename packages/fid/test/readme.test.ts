/** The README's example is code that runs. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { compileFunction } from "node:vm";
import { writeSafetensors } from "@madformer/artifacts";
import * as fid from "@madformer/fid";
import { transform } from "@swc/core";
import { drawnTensors } from "../src/inception/testing.js";

const home = process.cwd();
let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "fid-"));
  process.chdir(folder);
});
afterAll(async () => {
  process.chdir(home);
  await rm(folder, { recursive: true });
});

test("the README's example measures a distance, and that of a set to itself is nothing", async () => {
  const text = await readFile(fileURLToPath(new URL("../README.md", import.meta.url)), "utf8");
  const example = /```ts\n(.*?)```/s.exec(text)?.[1] ?? "";
  expect(example.match(/^import .* from "@madformer\/fid";$/gm)).toHaveLength(2);
  const body = example.replace(/^import .*$/gm, "");
  const { code } = await transform(`async function example() {${body}}`, {
    jsc: { parser: { syntax: "typescript" }, target: "es2022" },
  });
  await writeSafetensors("inception.safetensors", Object.fromEntries(drawnTensors(64)));
  await fid.writeStatistics("reference.npz", { mu: new Float64Array(64), sigma: new Float64Array(64 * 64) });
  const batches = [2, 3].map((N) => Uint8Array.from({ length: N * 32 * 32 * 3 }, (_, i) => (i * i * N) % 251));

  const names = Object.keys(fid);
  const run = compileFunction(`${code}; return example();`, [...names, "batches", "console"]) as (
    ...args: unknown[]
  ) => Promise<void>;
  const printed: number[] = [];
  const runOnce = () => run(...Object.values(fid), batches, { log: (value: number) => printed.push(value) });
  await runOnce();
  // To no variance at zero: the squares of the means and the variances.
  const { mu, sigma } = await fid.readStatistics("samples.npz");
  const expected = mu.reduce((sum, x, i) => sum + x * x + sigma[i * 64 + i]!, 0);
  expect(expected).toBeGreaterThan(0.1);
  expect(printed[0]).toBeCloseTo(expected, 10);

  await fid.writeStatistics("reference.npz", { mu, sigma });
  await runOnce();
  expect(printed[1]).toBeCloseTo(0, 8);
});

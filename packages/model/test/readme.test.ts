/** The README's example is code that runs. */
import { readFile } from "node:fs/promises";
import { compileFunction } from "node:vm";
import * as engine from "@madformer/engine";
import * as model from "@madformer/model";
import { transform } from "@swc/core";

test("the README's example learns its image and samples it", async () => {
  const text = await readFile(new URL("../README.md", import.meta.url), "utf8");
  const example = /```ts\n(.*?)```/s.exec(text)?.[1] ?? "";
  const [imports, body] = [/^import .*$/gm, example.replace(/^import .*$/gm, "")];
  expect(example.match(imports)).toEqual([
    'import { compile, integers, normal, randomKey } from "@madformer/engine";',
    'import * as model from "@madformer/model";',
  ]);
  const { code } = await transform(`async function example() {${body}}`, {
    jsc: { parser: { syntax: "typescript" }, target: "es2022" },
  });
  const printed: unknown[] = [];
  const console = { log: (value: unknown) => printed.push(value) };
  const names = ["compile", "integers", "normal", "randomKey", "model", "console"];
  const run = compileFunction(`${code}; return example();`, names) as (...args: unknown[]) => Promise<void>;
  await run(engine.compile, engine.integers, engine.normal, engine.randomKey, model, console);
  const [middle, end, latents] = printed as [number, number, Float32Array];
  expect(middle).toBeLessThan(1);
  expect(end).toBeLessThan(middle);
  expect(latents).toHaveLength(256);
  const mean = latents.reduce((sum, x) => sum + x, 0) / latents.length;
  expect(Math.abs(mean - 0.5)).toBeLessThan(0.2);
});

/** The README's example is code that runs. */
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { compileFunction } from "node:vm";
import * as engine from "@madformer/engine";
import * as tf from "@tensorflow/tfjs-core";
import { transform } from "@swc/core";

test("the README's example learns what its comments say", async () => {
  const text = await readFile(fileURLToPath(new URL("../README.md", import.meta.url)), "utf8");
  const example = /```ts\n(.*?)```/s.exec(text)?.[1] ?? "";
  const [imports, body] = [/^import .*$/gm, example.replace(/^import .*$/gm, "")];
  expect(example.match(imports)).toEqual([
    'import { compile, spec } from "@madformer/engine";',
    'import * as tf from "@tensorflow/tfjs-core";',
  ]);
  const { code } = await transform(`async function example() {${body}}`, {
    jsc: { parser: { syntax: "typescript" }, target: "es2022" },
  });
  const printed: unknown[] = [];
  const console = { log: (value: unknown) => printed.push(value) };
  const names = ["compile", "spec", "tf", "console"];
  const run = compileFunction(`${code}; return example();`, names) as (...args: unknown[]) => Promise<void>;
  await run(engine.compile, engine.spec, tf, console);
  const [w] = printed as [Float32Array];
  expect(w).toHaveLength(2);
  expect(w[0]).toBeCloseTo(3, 3);
  expect(w[1]).toBeCloseTo(-1, 3);
});

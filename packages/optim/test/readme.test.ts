/** The README's example is code that runs. */
import { readFile } from "node:fs/promises";
import { compileFunction } from "node:vm";
import * as engine from "@madformer/engine";
import * as optim from "@madformer/optim";
import * as tf from "@tensorflow/tfjs-core";
import { transform } from "@swc/core";

test("the README's example finds the line", async () => {
  const text = await readFile(new URL("../README.md", import.meta.url), "utf8");
  const example = /```ts\n(.*?)```/s.exec(text)?.[1] ?? "";
  const modules = { "@madformer/engine": engine, "@madformer/optim": optim };
  const imported: Record<string, unknown> = { tf };
  for (const [, names = "", from] of example.matchAll(/^import \{(.*?)\} from "(.*?)";/gms))
    for (const name of names.split(",").map((name) => name.trim()))
      if (name !== "") imported[name] = (modules[from as keyof typeof modules] as Record<string, unknown>)[name];
  expect(Object.values(imported).filter((value) => value === undefined)).toEqual([]);
  const body = example.replace(/^import .*?;$/gms, "");
  const { code } = await transform(`async function example() {${body}}`, {
    jsc: { parser: { syntax: "typescript" }, target: "es2022" },
  });
  const printed: unknown[][] = [];
  const console = { log: (...values: unknown[]) => void printed.push(values) };
  const names = [...Object.keys(imported), "console"];
  const run = compileFunction(`${code}; return example();`, names) as (...args: unknown[]) => Promise<void>;
  await run(...Object.values(imported), console);

  const lines = printed.slice(0, -1) as number[][];
  expect(lines.map(([step]) => step)).toEqual([100, 200, 300]);
  const fits = lines.map(([, , fit]) => fit!);
  expect(fits[2]).toBeLessThan(0.1);
  const [w] = printed.at(-1) as [Float32Array];
  expect(w[0]).toBeCloseTo(3, 1);
  expect(w[1]).toBeCloseTo(-1, 1);
});

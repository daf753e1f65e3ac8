/** The README's example is code that runs. */
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { compileFunction } from "node:vm";
import { StageFiles } from "@madformer/stage";
import * as trainPackage from "@madformer/train";
import { transform } from "@swc/core";
import { temporaryFolder } from "../src/testing.js";

test("the README's example trains as its comments say", async () => {
  await using folder = await temporaryFolder("readme");
  const text = await readFile(fileURLToPath(new URL("../README.md", import.meta.url)), "utf8");
  const example = /```ts\n(.*?)```/s.exec(text)?.[1] ?? "";
  const [imports, body] = [/^import .*$/gm, example.replace(/^import .*$/gm, "").replaceAll("runs/grey", folder.path)];
  expect(example.match(imports)).toEqual([
    'import { StageFiles } from "@madformer/stage";',
    'import { readCheckpoint, train, TrainConfig } from "@madformer/train";',
  ]);
  const { code } = await transform(`async function example() {${body}}`, {
    jsc: { parser: { syntax: "typescript" }, target: "es2022" },
  });
  const printed: unknown[][] = [];
  const console = { log: (...values: unknown[]) => printed.push(values), error: () => undefined };
  const names = ["StageFiles", "readCheckpoint", "train", "TrainConfig", "console"];
  const run = compileFunction(`${code}; return example();`, names) as (...args: unknown[]) => Promise<void>;
  await run(StageFiles, trainPackage.readCheckpoint, trainPackage.train, trainPackage.TrainConfig, console);
  const [[step, image], [parameters]] = printed as [[number, number], [number]];
  expect(step).toBe(60);
  expect(image).toBeLessThan(0.5);
  expect(parameters).toBe(161);
});

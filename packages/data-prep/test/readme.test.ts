/** The README's example is code that runs. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { compileFunction } from "node:vm";
import { jest } from "@jest/globals";
import * as artifacts from "@madformer/artifacts";
import * as dataPrep from "@madformer/data-prep";
import * as stage from "@madformer/stage";
import { transform } from "@swc/core";

test("the README's example prints what its comments say", async () => {
  const text = await readFile(fileURLToPath(new URL("../README.md", import.meta.url)), "utf8");
  const example = /```ts\n(.*?)```/s.exec(text)?.[1] ?? "";
  const imports = [...example.matchAll(/^import \{ (.*) \} from "@madformer\/[\w-]+";$/gm)].flatMap((match) =>
    match[1]!.split(", "),
  );
  expect(imports).toHaveLength(8);
  const { code } = await transform(`async function example() {${example.replaceAll(/^import .*$/gm, "")}}`, {
    jsc: { parser: { syntax: "typescript" }, target: "es2022" },
  });
  const folder = await mkdtemp(join(tmpdir(), "readme-"));
  const stderr = jest.spyOn(process.stderr, "write").mockReturnValue(true); // where the stages say how they are doing
  try {
    const printed: unknown[][] = [];
    const print = (...values: unknown[]): unknown => printed.push(values);
    // Its files go to a folder of their own.
    const inFolder = code.replaceAll(
      /(?<!kind: )"(faces|shards|shards\/.*?)"/g, //
      (_, name: string) => JSON.stringify(join(folder, name)),
    );
    const run = compileFunction(`${inFolder}; return example();`, [...imports, "console"]) as (
      ...args: unknown[]
    ) => Promise<void>;
    const modules: Record<string, unknown> = { ...artifacts, ...dataPrep, ...stage };
    await run(...imports.map((name) => modules[name]), { log: print, warn: print });
    expect(printed).toEqual([
      [{ images: 8, source: "drawn faces", seed: 0, side: 64 }],
      [{ images: 8, side: 32, skipped: 0, classes: 0, format: "rgb8" }],
      ...Array.from({ length: 8 }, (_, i) => [`0000000${i}`, 3072]),
    ]);
  } finally {
    stderr.mockRestore();
    await rm(folder, { recursive: true });
  }
});

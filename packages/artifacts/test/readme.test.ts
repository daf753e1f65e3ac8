/** The README's example is code that runs. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { compileFunction } from "node:vm";
import * as artifacts from "@madformer/artifacts";
import { transform } from "@swc/core";

test("the README's example prints what its comments say", async () => {
  const text = await readFile(fileURLToPath(new URL("../README.md", import.meta.url)), "utf8");
  const example = /```ts\n(.*?)```/s.exec(text)?.[1] ?? "";
  const imports = /^import \{ (.*) \} from "@madformer\/artifacts";$/m.exec(example)?.[1]?.split(", ") ?? [];
  expect(imports.length).toBeGreaterThan(3);
  const { code } = await transform(`async function example() {${example.replace(/^import .*$/m, "")}}`, {
    jsc: { parser: { syntax: "typescript" }, target: "es2022" },
  });
  const folder = await mkdtemp(join(tmpdir(), "readme-"));
  try {
    const printed: unknown[][] = [];
    const console = { log: (...values: unknown[]) => printed.push(values) };
    // Its files go to a folder of their own.
    const inFolder = code.replaceAll(/"(weights\.\w+)"/g, (_, name: string) => JSON.stringify(join(folder, name)));
    const run = compileFunction(`${inFolder}; return example();`, [...imports, "console"]) as (
      ...args: unknown[]
    ) => Promise<void>;
    await run(...imports.map((name) => artifacts[name as keyof typeof artifacts]), console);
    expect(printed).toEqual([
      ["layer.weight", [2, 3]],
      [Float32Array.of(4, 5, 6)],
      [7],
      [Float32Array.of(1, 2, 3, 4, 5, 6)],
    ]);
  } finally {
    await rm(folder, { recursive: true });
  }
});

/** The README's example is code that runs. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { compileFunction } from "node:vm";
import { openFolder } from "@madformer/artifacts";
import { readRun, renderPage, ReportConfig } from "@madformer/report";
import { transform } from "@swc/core";
import { fixtureRun } from "./fixture/run.js";

test("the README's example writes a page about the two artifacts", async () => {
  const text = await readFile(fileURLToPath(new URL("../README.md", import.meta.url)), "utf8");
  const example = /```ts\n(.*?)```/s.exec(text)?.[1] ?? "";
  const [imports, body] = [/^import .*$/gm, example.replace(/^import .*$/gm, "")];
  expect(example.match(imports)).toEqual([
    'import { openFolder } from "@madformer/artifacts";',
    'import { readRun, renderPage, ReportConfig } from "@madformer/report";',
    'import { writeFile } from "node:fs/promises";',
  ]);
  const { code } = await transform(`async function example() {${body}}`, {
    jsc: { parser: { syntax: "typescript" }, target: "es2022" },
  });
  const folder = await mkdtemp(join(tmpdir(), "report-"));
  try {
    await fixtureRun(join(folder, "run"), { steps: 30, samples: 1, examples: 1 });
    const printed: unknown[] = [];
    const written = new Map<string, string>();
    const given = {
      openFolder: (path: string) => openFolder(join(folder, path)),
      readRun,
      renderPage,
      ReportConfig,
      writeFile: async (path: string, page: string) => void written.set(path, page),
      console: { log: (value: unknown) => printed.push(value) },
    };
    const run = compileFunction(`${code}; return example();`, Object.keys(given)) as (
      ...args: unknown[]
    ) => Promise<void>;
    await run(...Object.values(given));
    expect(printed).toEqual([[]]);
    expect([...written.keys()]).toEqual(["index.html"]);
    expect(written.get("index.html")).toContain("<h1>Drawn faces</h1>");
  } finally {
    await rm(folder, { recursive: true });
  }
});

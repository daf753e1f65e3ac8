/** The README's snippet, with a workspace that has what it reads. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as sweeps from "@madformer/sweep";
import { load, SOURCE } from "../src/testing.js";

test("the README's snippet reads a sweep, and finds what its points share", async () => {
  const readme = await readFile(new URL("../README.md", import.meta.url), "utf8");
  const code = /```ts\n(.*?)```/s.exec(readme)?.[1]?.replace(/^import .*$/gm, "");
  if (code === undefined) throw new Error("the README has no snippet");
  const root = await mkdtemp(join(tmpdir(), "sweep-readme-"));
  try {
    await mkdir(join(root, "sweeps"));
    const sweep = { pipeline: "small", stage: "sample", axes: { "sample.steps": [1, 2] } };
    await writeFile(join(root, "sweeps/steps.json"), JSON.stringify(sweep));
    const names = ["jobsOf", "readSweep", "runsOf"] as const;
    // eslint-disable-next-line @typescript-eslint/no-implied-eval -- the text is this package's own README
    const run = new Function(
      "root",
      "source",
      "load",
      ...names,
      `return (async () => { ${code}; return jobs; })()`,
    ) as (...args: unknown[]) => Promise<unknown[]>;
    const jobs = await run(root, SOURCE, load, ...names.map((name) => sweeps[name]));
    expect(jobs).toHaveLength(4); // the data, the training, two times samples
  } finally {
    await rm(root, { recursive: true });
  }
});

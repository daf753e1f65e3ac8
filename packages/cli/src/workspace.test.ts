import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findStage } from "./workspace.js";

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "workspace-"));
  for (const name of ["smoke", "smoke-two", "faces-64"]) {
    await mkdir(join(root, "pipelines", name), { recursive: true });
    await writeFile(join(root, "pipelines", name, "pipeline.json"), "{}");
  }
});
afterAll(() => rm(root, { recursive: true }));

test.each([
  [["smoke"], "smoke", undefined],
  [["smoke-two"], "smoke-two", undefined],
  [["smoke", "sample"], "smoke", "sample"],
  [["smoke-sample"], "smoke", "sample"],
  [["smoke-two-sample"], "smoke-two", "sample"],
  [["faces-64-faces-net"], "faces-64", "faces-net"],
])("findStage() takes %j for %s and %s", async (words, pipeline, stage) => {
  expect(await findStage(root, words)).toEqual({ pipeline, stage });
});

test.each([
  [["smok"], /expected one of: faces-64, smoke, smoke-two; did you mean smoke\?/],
  [["smoke-sample", "train"], /Cannot find/],
])("findStage() refuses %j", async (words, message) => {
  await expect(findStage(root, words)).rejects.toThrow(message);
});

/** Files of the format before PyTorch 1.6 that PyTorch has made or read: test/legacy/README.md. */
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { openDataFile, openTorch, writeTorch } from "@madformer/artifacts";
import { expectTensors, type Expected } from "./expected.js";

const FOLDER = fileURLToPath(new URL("legacy/", import.meta.url));
const FILES = JSON.parse(readFileSync(join(FOLDER, "legacy.json"), "utf8")) as Record<string, Record<string, Expected>>;

/** Names of tensors by the memory that they are in, where that is more than one. */
const SHARED: Readonly<Record<string, readonly string[]>> = {
  "saved.pt": ["base", "transposed", "slice", "row"],
  "views.pt": ["part", "whole", "even", "same", "pairs"],
};

test.each(Object.entries(FILES))("%s is read as PyTorch reads it, and written anew", async (name, expected) => {
  const opened = await openDataFile(join(FOLDER, name));
  if (opened.kind !== "torch") throw new Error(`it is taken for ${opened.kind}`);
  await using file = opened.file;
  await expectTensors(file.tensors(), expected);

  const folder = await mkdtemp(join(tmpdir(), "legacy-"));
  try {
    await writeTorch(join(folder, name), file.value);
    await using copy = await openTorch(join(folder, name));
    await expectTensors(copy.tensors(), expected);
    for (const tensors of [file.tensors(), copy.tensors()]) {
      const records = SHARED[name]?.map((shared) => tensors.get(shared)?.storage.record);
      expect(records?.length).toBeGreaterThan(1);
      expect(new Set(records).size).toBe(1);
    }
  } finally {
    await rm(folder, { recursive: true });
  }
});

import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openFolder } from "@madformer/artifacts";
import { StageFiles } from "@madformer/stage";
import { copyClassNames } from "./class-names.js";

let folder: string;
beforeEach(async () => (folder = await mkdtemp(join(tmpdir(), "class-names-"))));
afterEach(() => rm(folder, { recursive: true }));

async function copied(text: string | undefined) {
  const [from, to] = [join(folder, "from"), join(folder, "to")];
  await Promise.all([mkdir(from), mkdir(to)]);
  await writeFile(join(from, "other.json"), "[]");
  if (text !== undefined) await writeFile(join(from, "classes.json"), text);
  await using files = await StageFiles.open(to);
  const names = await copyClassNames(await openFolder(from), files);
  return { names, there: files.has("classes.json") ? await readFile(join(to, "classes.json"), "utf8") : undefined };
}

describe("copyClassNames()", () => {
  test("hands on the names as they are", async () => {
    const text = '["tench, Tinca tinca","owl"]\n';
    expect(await copied(text)).toEqual({ names: ["tench, Tinca tinca", "owl"], there: text });
  });

  test("does nothing where there are none", async () => {
    expect(await copied(undefined)).toEqual({ names: undefined, there: undefined });
  });

  test.each(["{}", "[1]", "[]", "["])("refuses %s", async (text) => {
    await expect(copied(text)).rejects.toThrow(/^Cannot read classes.json: it is no list of names: /);
  });
});

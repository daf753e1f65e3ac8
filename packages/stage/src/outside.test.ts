import { copyFile, mkdir, mkdtemp, readFile, rename, rm, stat, symlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sha256 } from "@madformer/artifacts";
import { lookAgain, lookOutside, outsideDigest, type Outside } from "./outside.js";

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "outside-"));
  await mkdir(join(root, "photos/a"), { recursive: true });
  await writeFile(join(root, "photos/a/1.png"), "one");
  await writeFile(join(root, "photos/a/2.png"), "two");
  await writeFile(join(root, "weights.pth"), "weights");
});
afterEach(() => rm(root, { recursive: true }));

const digest = async (...places: Outside[]): Promise<string | undefined> => outsideDigest(await lookOutside(places));
const photos = (more: Partial<Outside> = {}): Outside => ({ path: join(root, "photos"), by: "time", ...more });
const weights = (by: Outside["by"]): Outside => ({ path: join(root, "weights.pth"), by });
/** Replaces a file by another one of its size and its time of change. */
async function replace(path: string, text: string): Promise<void> {
  const { mtime } = await stat(path);
  await writeFile(`${path}.new`, text);
  await utimes(`${path}.new`, mtime, mtime);
  await rename(`${path}.new`, path);
}

describe("outsideDigest()", () => {
  test.each<[string, () => Promise<unknown>]>([
    ["a file is written to", () => writeFile(join(root, "photos/a/1.png"), "ONE")],
    ["a file is replaced by one of its size and time", () => replace(join(root, "photos/a/1.png"), "ONE")],
    ["a file is added", () => writeFile(join(root, "photos/3.png"), "3")],
    ["a file is removed", () => rm(join(root, "photos/a/2.png"))],
    ["a file is renamed", () => rename(join(root, "photos/a/2.png"), join(root, "photos/a/3.png"))],
    ["all of it is removed", () => rm(join(root, "photos"), { recursive: true })],
  ])("of a folder changes when %s", async (_, change) => {
    const before = await digest(photos());
    expect(await digest(photos())).toBe(before);
    await change();
    expect(await digest(photos())).not.toBe(before);
  });

  test("of some files in a folder changes with these alone", async () => {
    const tars = photos({ pattern: "^a/[12].png$" });
    const before = await digest(tars);
    await writeFile(join(root, "photos/a/3.png"), "three");
    expect(await digest(tars)).toBe(before);
    await replace(join(root, "photos/a/2.png"), "TWO");
    expect(await digest(tars)).not.toBe(before);
  });

  test("follows links, and comes back from one that leads up", async () => {
    await mkdir(join(root, "elsewhere"));
    await writeFile(join(root, "elsewhere/x.png"), "x");
    await symlink(join(root, "elsewhere"), join(root, "photos/link"));
    await symlink(join(root, "photos"), join(root, "photos/a/up"));
    const before = await digest(photos());
    await replace(join(root, "elsewhere/x.png"), "X");
    expect(await digest(photos())).not.toBe(before);
  });

  test("by content is the same for equal bytes in another file, by time it is not", async () => {
    const before = [await digest(weights("content")), await digest(weights("time"))];
    await copyFile(join(root, "weights.pth"), join(root, "copy"));
    await rename(join(root, "copy"), join(root, "weights.pth"));
    const after = [await digest(weights("content")), await digest(weights("time"))];
    expect([after[0] === before[0], after[1] === before[1]]).toEqual([true, false]);
    await replace(join(root, "weights.pth"), "WEIGHTS");
    expect(await digest(weights("content"))).not.toBe(before[0]);
    await rm(join(root, "weights.pth"));
    expect(await digest(weights("content"))).not.toBe(before[0]);
  });

  test("is none where nothing is outside", async () => {
    expect(await digest()).toBeUndefined();
  });
});

test("lookAgain() does not hash what was not touched, and hashes what was", async () => {
  const [state] = await lookOutside([weights("content")]);
  const path = join(root, "weights.pth");
  expect(state?.sha256).toBe(sha256(await readFile(path)));
  const believed = { ...state!, sha256: sha256("what it was said to be") };
  expect(await lookAgain([believed])).toEqual([believed]);
  await replace(path, "WEIGHTS");
  expect((await lookAgain([believed]))[0]?.sha256).toBe(sha256("WEIGHTS"));
});

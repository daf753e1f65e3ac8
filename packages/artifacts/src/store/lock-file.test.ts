import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "./lock-file.js";
import { newHolder } from "./lock-holder.js";

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "lock-"));
});
afterEach(() => rm(root, { recursive: true }));

describe("create()", () => {
  const noSecondNames = (): Promise<never> => Promise.reject(Object.assign(new Error("link"), { code: "EPERM" }));

  test.each([
    ["with second names of files", undefined],
    ["without", noSecondNames],
  ])("creates a file once, on a disk %s", async (_, second) => {
    const path = join(root, "lock");
    const [first, other] = [await newHolder(), await newHolder()].map((holder) => JSON.stringify(holder));
    expect(await create(path, first ?? "", second)).toBe(true);
    expect(await create(path, other ?? "", second)).toBe(false);
    expect(await readFile(path, "utf8")).toBe(first);
    expect(await readdir(root)).toEqual(["lock"]);
  });
});

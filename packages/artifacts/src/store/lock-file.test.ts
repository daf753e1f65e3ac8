import { renameSync, writeFileSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { jest } from "@jest/globals";
import { create, obtain, Watch } from "./lock-file.js";
import { newHolder } from "./lock-holder.js";

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "lock-"));
});
afterEach(async () => {
  jest.restoreAllMocks();
  await rm(root, { recursive: true });
});

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

test("obtain() leaves a lock that another process took over while this one found its holder dead", async () => {
  const path = join(root, "lock");
  const [dead, other, me] = [await newHolder(), await newHolder(), await newHolder()];
  await writeFile(path, JSON.stringify(dead));
  jest.spyOn(process, "kill").mockImplementation(() => {
    writeFileSync(join(root, "new"), JSON.stringify(other));
    renameSync(join(root, "new"), path);
    throw Object.assign(new Error("kill ESRCH"), { code: "ESRCH" });
  });
  expect(await obtain(path, me, new Watch(Infinity))).toBe("again");
  expect(JSON.parse(await readFile(path, "utf8"))).toEqual(other);
  expect(await readdir(root)).toEqual(["lock"]);
});

import { appendFile, mkdir, mkdtemp, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { digestFile, exists, sha256 } from "@madformer/artifacts";
import { FINISHED_FILE, StageFiles } from "./files.js";

let out: string;
beforeEach(async () => {
  out = await mkdtemp(join(tmpdir(), "files-"));
  await mkdir(join(out, "tmp"));
});
afterEach(() => rm(out, { recursive: true }));

/** An attempt: what it does, and what it finds lost. */
async function attempt<T>(
  work: (files: StageFiles) => T | Promise<T>,
): Promise<{ lost: readonly string[]; result: T }> {
  await using files = await StageFiles.open(out);
  return { lost: files.lost, result: await work(files) };
}
const names = async (files: StageFiles): Promise<string[]> => Object.keys(await files.collect(digestFile));

/** Changes one bit in the middle. */
async function flip(file: string): Promise<void> {
  const bytes = await readFile(join(out, file));
  bytes[bytes.length >> 1]! ^= 1;
  await writeFile(join(out, file), bytes);
}

describe("StageFiles", () => {
  test("has what was finished, with its note, and the next attempt finds it", async () => {
    await attempt(async (files) => {
      expect(files.has("a.txt")).toBe(false);
      await files.write("a.txt", "hello", { images: 3 });
      await writeFile(join(out, "tmp", "b"), "moved");
      await files.add(join(out, "tmp", "b"), "deep/b.txt");
      await files.remember("empty", { images: 0 });
    });
    const { lost, result } = await attempt(async (files) => ({
      has: ["a.txt", "deep/b.txt", "empty"].map((file) => files.has(file)),
      notes: [files.note("a.txt"), files.note("deep/b.txt"), files.note("empty"), files.note("none")],
      files: await files.collect(digestFile),
    }));
    expect(lost).toEqual([]);
    expect(result.has).toEqual([true, true, false]);
    expect(result.notes).toEqual([{ images: 3 }, undefined, { images: 0 }, undefined]);
    expect(result.files).toEqual({
      "a.txt": { sha256: sha256("hello"), bytes: 5 },
      "deep/b.txt": { sha256: sha256("moved"), bytes: 5 },
    });
  });

  test("gives one file two names, hashes it once, and misses neither name", async () => {
    const hashed: string[] = [];
    const collect = async (files: StageFiles) =>
      files.collect((path) => {
        hashed.push(path);
        return digestFile(path);
      });
    const ref = { sha256: sha256("hello"), bytes: 5 };
    await attempt(async (files) => {
      await files.write("a.txt", "hello");
      await files.addSecondName("a.txt", join(out, "tmp", "b"), "b.txt", { of: "a" });
      await expect(files.addSecondName("none", join(out, "tmp", "c"), "c.txt")).rejects.toThrow("it is not finished");
      expect([files.note("b.txt"), await collect(files)]).toEqual([{ of: "a" }, { "a.txt": ref, "b.txt": ref }]);
    });
    expect(hashed).toEqual([join(out, "a.txt")]);
    await rm(join(out, "a.txt"));
    expect((await attempt((files) => files.has("b.txt"))).result).toBe(true);
  });

  test("does not take a writer's word for what a file holds", async () => {
    await attempt(async (files) => {
      await writeFile(join(out, "tmp", "a"), "hello");
      await files.add(join(out, "tmp", "a"), "a.txt", undefined, { sha256: sha256("other"), bytes: 5 });
      await expect(files.collect(digestFile)).rejects.toThrow("was changed");
    });
  });

  test.each<[string, () => Promise<unknown>]>([
    ["flipped", () => flip("a.txt")],
    ["cut short", () => truncate(join(out, "a.txt"), 3)],
    ["emptied", () => truncate(join(out, "a.txt"), 0)],
    ["removed", () => rm(join(out, "a.txt"))],
    [
      "replaced by a folder",
      () => rm(join(out, "a.txt")).then(() => mkdir(join(out, "a.txt", "b"), { recursive: true })),
    ],
  ])("does not have a file that was %s since the last attempt", async (_, damage) => {
    await attempt((files) => files.write("a.txt", "hello"));
    await damage();
    const { lost, result } = await attempt((files) => files.has("a.txt"));
    expect([lost, result, await exists(join(out, "a.txt"))]).toEqual([["a.txt"], false, false]);
  });

  test("cuts a file that lines were appended to back to what was finished of it", async () => {
    const line = (text: string) => appendFile(join(out, "losses.jsonl"), `${text}\n`);
    await attempt(async (files) => {
      await line("1");
      await files.keep("losses.jsonl");
      await line("2");
      await files.keep("losses.jsonl");
      await line("3, never finis");
    });
    await attempt(() => undefined);
    expect(await readFile(join(out, "losses.jsonl"), "utf8")).toBe("1\n2\n");
    await flip("losses.jsonl");
    await line("3");
    expect((await attempt(() => undefined)).lost).toEqual(["losses.jsonl"]);
  });

  test.each([
    ["before the new one got its name", "old"],
    ["after it, and before that was noted", "new"],
  ])("has a file that was replaced when its process was killed %s", async (_, content) => {
    await attempt((files) => files.write("tmp/state", "old", 1));
    await attempt(async (files) => {
      await writeFile(join(out, "tmp", "next"), "new");
      await files.add(join(out, "tmp", "next"), "tmp/state", 2);
    });
    const journal = (await readFile(join(out, FINISHED_FILE), "utf8")).trimEnd().split("\n");
    await writeFile(join(out, FINISHED_FILE), `${journal.slice(0, -1).join("\n")}\n`);
    await writeFile(join(out, "tmp", "state"), content);
    const { lost, result } = await attempt(async (files) => [files.note("tmp/state"), await files.path("tmp/state")]);
    expect([lost, result]).toEqual([[], [content === "old" ? 1 : 2, join(out, "tmp", "state")]]);
  });

  test("has nothing that nobody finished, and leaves it alone", async () => {
    await writeFile(join(out, "notes.txt"), "mine");
    const { result } = await attempt(async (files) => [files.has("notes.txt"), await names(files)]);
    expect(result).toEqual([false, []]);
    expect(await readFile(join(out, "notes.txt"), "utf8")).toBe("mine");
  });

  test("makes the artifact of what this run finished or asked for, without tmp and without what was dropped", async () => {
    await attempt(async (files) => {
      for (const name of ["old.tar", "kept.tar", "tmp/state", "pruned"]) await files.write(name, name);
    });
    const { result } = await attempt(async (files) => {
      files.has("kept.tar");
      await files.drop("pruned");
      await files.write("new.tar", "new");
      return [files.has("tmp/state"), files.has("pruned"), await names(files)];
    });
    expect(result).toEqual([true, false, ["kept.tar", "new.tar"]]);
    expect((await attempt((files) => files.has("pruned"))).result).toBe(false);
  });

  test.each<[string, RegExp, () => Promise<void>]>([
    ["changed", /a.txt" was changed after it was finished/, () => flip("a.txt")],
    ["removed", /a.txt" was removed after it was finished/, () => rm(join(out, "a.txt"))],
  ])("finds a file that is %s while the stage runs, and the next attempt makes it", async (_, message, damage) => {
    for (const read of [names, (files: StageFiles) => files.path("a.txt")])
      await attempt(async (files) => {
        await files.write("a.txt", "hello");
        await files.write("b.txt", "world");
        await damage();
        await expect(read(files)).rejects.toThrow(message);
      });
    expect((await attempt((files) => [files.has("a.txt"), files.has("b.txt")])).result).toEqual([false, true]);
  });

  test("reads back what is whole, and nothing that is not finished", async () => {
    await attempt(async (files) => {
      await files.write("a.txt", "hello");
      await writeFile(join(out, "b.txt"), "half");
      expect(await readFile(await files.path("a.txt"), "utf8")).toBe("hello");
      await expect(files.path("b.txt")).rejects.toThrow(/b.txt": it is not finished/);
    });
  });

  test("believes no line that is damaged, cut off, or names a file elsewhere", async () => {
    await attempt(async (files) => {
      for (const name of ["a", "b", "c"]) await files.write(name, name);
    });
    const path = join(out, FINISHED_FILE);
    const lines = (await readFile(path, "utf8")).split("\n");
    const forged = JSON.stringify({ file: "../x", sha256: sha256("x"), bytes: 1, check: "0000000000000000" });
    await writeFile(
      path,
      [lines[0]!.replace('"bytes":1', '"bytes":0'), lines[1], forged, lines[2]!.slice(0, 40)].join("\n"),
    );
    const { result } = await attempt(async (files) => {
      await files.write("d", "d");
      return ["a", "b", "c"].map((file) => files.has(file));
    });
    expect(result).toEqual([false, true, false]);
    expect((await attempt((files) => files.has("d"))).result).toBe(true); // and no line hangs on half of another one
  });

  test("refuses names that lead elsewhere", async () => {
    await attempt(async (files) => {
      await expect(files.remember("../x", 1)).rejects.toThrow();
    });
  });
});

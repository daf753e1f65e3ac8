import { randomBytes } from "node:crypto";
import { mkdtemp, open, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sha256 } from "../store/manifest.js";
import { HashingThread } from "./hashing-thread.js";

const folder = await mkdtemp(join(tmpdir(), "hashing-"));
const thread = new HashingThread();

afterAll(async () => {
  await thread[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

describe("HashingThread", () => {
  test("writes and hashes several files side by side, in pieces of any size", async () => {
    const contents = [0, 1, 2 ** 20, 5 * 2 ** 20 + 7].map((length) => randomBytes(length));
    const digests = contents.map(async (content, i) => {
      await using handle = await open(join(folder, `${i}`), "w");
      await using file = thread.file(handle.fd);
      for (let at = 0; at < content.length; at += 70_001) await file.append(content.subarray(at, at + 70_001));
      expect(file.size).toBe(content.length);
      return await file.digest();
    });
    expect(await Promise.all(digests)).toEqual(contents.map(sha256));
    for (const [i, content] of contents.entries())
      expect((await readFile(join(folder, `${i}`))).equals(content)).toBe(true);
  });

  test("takes what is given, although it is overwritten at once, and says when it has no room", async () => {
    await using handle = await open(join(folder, "taken"), "w");
    await using file = thread.file(handle.fd);
    const piece = Buffer.alloc(2 ** 20, "a");
    const waits = [];
    for (let i = 0; i < 20; i++) {
      waits.push(file.append(piece));
      piece.fill(i);
      await waits.at(-1);
    }
    expect(waits.filter((wait) => wait !== undefined).length).toBeGreaterThan(0);
    await file.flush();
    const written = await readFile(join(folder, "taken"));
    expect([...Array(20).keys()].map((i) => written[i * 2 ** 20])).toEqual([97, ...Array(19).keys()]);
    expect(await file.digest()).toBe(sha256(written));
  });

  test("goes on after what the file holds, and begins again", async () => {
    const path = join(folder, "resumed");
    const before = randomBytes(4 * 2 ** 20 + 3);
    await writeFile(path, before);
    await using handle = await open(path, "r+");
    await using file = thread.file(handle.fd);
    await file.resume();
    expect(file.size).toBe(before.length);
    await file.append(Buffer.from("more"));
    expect(await file.digest()).toBe(sha256(Buffer.concat([before, Buffer.from("more")])));
    expect((await readFile(path, "latin1")).endsWith("more")).toBe(true);
    await file.restart();
    await handle.truncate(0);
    await file.append(Buffer.from("new"));
    expect(await file.digest()).toBe(sha256("new"));
    expect(await readFile(path, "utf8")).toBe("new");
  });

  test("says what the system says, in whatever is asked next, and not of other files", async () => {
    await writeFile(join(folder, "readonly"), "");
    await using handle = await open(join(folder, "readonly"), "r");
    await using file = thread.file(handle.fd);
    const piece = new Uint8Array(2 ** 20);
    await expect(
      (async () => {
        for (let i = 0; i < 20; i++) await file.append(piece);
      })(),
    ).rejects.toMatchObject({ code: "EBADF" });
    await expect(file.digest()).rejects.toMatchObject({ code: "EBADF" });
    await using other = await open(join(folder, "other"), "w");
    await using good = thread.file(other.fd);
    await good.append(Buffer.from("ok"));
    expect(await good.digest()).toBe(sha256("ok"));
  });

  test("fails whoever waits when the thread ends, and whoever comes later", async () => {
    const dead = new HashingThread();
    await using handle = await open(join(folder, "dead"), "w");
    const file = dead.file(handle.fd);
    await file.flush();
    const working = file.digest();
    await dead[Symbol.asyncDispose]();
    await working.catch(() => undefined); // it may have been quicker
    for (let i = 0; i < 5; i++) await file.append(new Uint8Array(2 ** 20))?.catch(() => undefined);
    await expect(file.flush()).rejects.toThrow("has ended");
    await file[Symbol.asyncDispose]();
  });
});

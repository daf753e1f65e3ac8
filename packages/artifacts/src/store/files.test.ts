import { createHash } from "node:crypto";
import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { digestFile } from "./files.js";

let folder: string;
beforeAll(async () => (folder = await mkdtemp(join(tmpdir(), "files-"))));
afterAll(() => rm(folder, { recursive: true }));

describe("digestFile()", () => {
  test.each([0, 1, 2 ** 20 + 1, 2 ** 26, 2 ** 26 + 1])(
    "hashes a file of %d bytes, in a thread or not",
    async (bytes) => {
      const path = join(folder, "file");
      const file = await open(path, "w");
      await file.write("begin");
      await file.truncate(bytes);
      await file.close();
      const content = Buffer.alloc(bytes);
      content.write("begin");
      expect(await digestFile(path)).toEqual({ sha256: createHash("sha256").update(content).digest("hex"), bytes });
    },
  );

  test("says which file cannot be read", async () => {
    await expect(digestFile(join(folder, "none"))).rejects.toThrow(/Cannot read ".*none": there is no such file/);
    await expect(digestFile(folder)).rejects.toThrow(/Cannot read ".*": it is a folder/);
  });
});

import { once } from "node:events";
import { writeAtomically } from "@madformer/artifacts";
import { pack, type Pack } from "tar-stream";
import type { WebDatasetSample } from "./sample.js";

/**
 * What a tar says about each file beside its name and size: the same for all, so that equal samples are equal bytes.
 */
const HEADER = { type: "file", mode: 0o644, uid: 0, gid: 0, mtime: new Date(0) } as const;

/**
 * Writes samples as one tar, in their order. The bytes depend on the samples alone; the file is there whole or not at
 * all. One sample is held at a time.
 *
 * @param path Where to write. Its folder must exist; a file that is there is replaced.
 * @param samples Each key once. Borrowed until they are written.
 * @returns How many samples were written.
 * @throws {RangeError} If a key or an extension could not be read back, or a key comes twice.
 * @throws {Error} If the file cannot be written. What `samples` throws passes unchanged, and nothing is left behind.
 */
export async function writeShard(
  path: string,
  samples: AsyncIterable<WebDatasetSample> | Iterable<WebDatasetSample>,
): Promise<number> {
  let count = 0;
  await writeAtomically(path, async (file) => {
    const tar = pack();
    const fill = async () => {
      try {
        count = await addAll(tar, path, samples);
        tar.finalize();
      } catch (error) {
        tar.destroy(error as Error);
        throw error;
      }
    };
    const drain = async () => {
      for await (const chunk of tar as AsyncIterable<Uint8Array>) await file.append(chunk);
    };
    // Both have ended before the file is closed. If one fails it ends the other, whose error then says less.
    const [filled, drained] = await Promise.allSettled([fill(), drain()]);
    for (const end of [drained, filled]) if (end.status === "rejected") throw end.reason;
  });
  return count;
}

async function addAll(
  tar: Pack,
  path: string,
  samples: AsyncIterable<WebDatasetSample> | Iterable<WebDatasetSample>,
): Promise<number> {
  const keys = new Set<string>();
  for await (const { key, files } of samples) {
    check(path, "key", key, /^[\w-]{1,200}$/, "1 to 200 letters, digits, _ or -");
    if (keys.has(key))
      throw new RangeError(`Cannot write ${JSON.stringify(path)}: key ${JSON.stringify(key)} comes twice`);
    keys.add(key);
    for (const [extension, bytes] of files) {
      check(path, "extension", extension, /^[a-z0-9_-]+(\.[a-z0-9_-]+)*$/, "lower-case letters, digits, _ or -");
      await addFile(tar, `${key}.${extension}`, bytes);
    }
  }
  return keys.size;
}

async function addFile(tar: Pack, name: string, bytes: Uint8Array): Promise<void> {
  const entry = tar.entry({ ...HEADER, name, size: bytes.length });
  entry.end(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  await once(entry, "close");
}

function check(path: string, what: string, value: string, pattern: RegExp, expected: string): void {
  if (pattern.test(value)) return;
  throw new RangeError(
    `Cannot write ${JSON.stringify(path)}: ${what} is ${JSON.stringify(value)}, expected ${expected}`,
  );
}

/** What the tests of this package share: archives and pickles written by hand. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readFile } from "node:fs/promises";
import { writeAtomically } from "./file/atomic-file.js";
import { ByteSource } from "./file/byte-source.js";
import { TorchFile } from "./torch/read.js";
import { ZipWriter, type ZipWriterOptions } from "./zip/write.js";

/** Runs `use` in a new folder, and removes it. */
export async function inFolder<T>(use: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), "artifacts-"));
  try {
    return await use(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** The bytes of an archive with these entries. */
export async function zipOf(
  entries: Readonly<Record<string, Uint8Array | string>>,
  options: ZipWriterOptions & { compress?: boolean } = {},
): Promise<Buffer> {
  return inFolder(async (folder) => {
    const path = join(folder, "x.zip");
    await writeAtomically(path, async (file) => {
      const zip = new ZipWriter(file, options);
      for (const [name, content] of Object.entries(entries))
        await zip.add(name, Buffer.from(content as string), { compress: options.compress ?? false });
      await zip.end();
    });
    return readFile(path);
  });
}

/** The bytes that `write` writes to a file. */
export async function written(write: (path: string) => Promise<unknown>): Promise<Buffer> {
  return inFolder(async (folder) => {
    const path = join(folder, "x");
    await write(path);
    return readFile(path);
  });
}

/** Opens a PyTorch file made of this pickle, without its protocol and STOP, and these records. */
export async function openPickle(
  pickle: readonly (number | string)[],
  records: Readonly<Record<string, Uint8Array | string>> = {},
): Promise<TorchFile> {
  const archive = await zipOf({ "x/data.pkl": pickleOf(pickle), ...records });
  return TorchFile.from(ByteSource.of(archive, "x.pt"));
}

/** A storage of a file from before PyTorch 1.6: its key, how many elements it says it has, its bytes. */
export type LegacyStorage = readonly [key: string, count: bigint, data: Uint8Array];

/** How such a file begins: a pickle of the magic number, of protocol 2. */
export const LEGACY_MAGIC = Buffer.from("80028a0a6cfc9c46f9206aa850192e", "hex");

/** The bytes of a file from before PyTorch 1.6, made of this pickle, without its protocol and STOP. */
export function legacyOf(
  pickle: readonly (number | string)[],
  storages: readonly LegacyStorage[] = [],
  {
    version = ["M\xe9\x03"],
    machine = ["}"],
    keys,
  }: Partial<Record<"version" | "machine" | "keys", readonly (number | string)[]>> = {},
): Buffer {
  const names = storages.map(([key]) => `X${String.fromCharCode(key.length)}\0\0\0${key}`);
  return Buffer.concat([
    LEGACY_MAGIC,
    pickleOf(version),
    pickleOf(machine),
    pickleOf(pickle),
    pickleOf(keys ?? ["](", ...names, "e"]),
    ...storages.flatMap(([, count, data]) => [Buffer.from(BigInt64Array.of(count).buffer), data]),
  ]);
}

/** Instructions as bytes: numbers are bytes, strings are Latin-1 text. */
export function pickleOf(pickle: readonly (number | string)[]): Buffer {
  return Buffer.concat([
    Buffer.from([0x80, 2]),
    ...pickle.map((part) => (typeof part === "number" ? Buffer.from([part]) : Buffer.from(part, "latin1"))),
    Buffer.from("."),
  ]);
}

/** Writes bytes to a file of a new folder and calls `use` with its path. */
export async function withFile<T>(bytes: Uint8Array, use: (path: string) => Promise<T>): Promise<T> {
  return inFolder(async (folder) => {
    const path = join(folder, "file");
    await writeFile(path, bytes);
    return use(path);
  });
}

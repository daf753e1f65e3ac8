import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pack, type Header } from "tar-stream";
import type { WebDatasetSample } from "./sample.js";

/** A tar of any entries, hostile ones too. */
export async function tarOf(
  entries: readonly (Partial<Header> & { name: string; content?: string })[],
): Promise<Buffer> {
  const tar = pack();
  for (const { content = "", ...header } of entries) tar.entry({ mtime: new Date(0), ...header }, Buffer.from(content));
  tar.finalize();
  const chunks: Uint8Array[] = [];
  for await (const chunk of tar as AsyncIterable<Uint8Array>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Bytes in pieces of a size. */
export async function* inPieces(bytes: Uint8Array, pieceBytes: number): AsyncGenerator<Uint8Array, void, undefined> {
  for (let at = 0; at < bytes.length; at += pieceBytes) yield bytes.subarray(at, at + pieceBytes);
}

export function sampleOf(key: string, files: Readonly<Record<string, string>>): WebDatasetSample {
  return { key, files: new Map(Object.entries(files).map(([extension, text]) => [extension, Buffer.from(text)])) };
}

/** What samples hold, as text. */
export async function textOf(samples: AsyncIterable<WebDatasetSample>): Promise<[string, Record<string, string>][]> {
  const found: [string, Record<string, string>][] = [];
  for await (const { key, files } of samples)
    found.push([key, Object.fromEntries([...files].map(([name, bytes]) => [name, Buffer.from(bytes).toString()]))]);
  return found;
}

/** Calls `use` with a folder that is gone afterwards. */
export async function inFolder<T>(use: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), "madformer-"));
  try {
    return await use(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

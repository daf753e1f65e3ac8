import { createReadStream } from "node:fs";
import { addAbortSignal, Readable } from "node:stream";
import { FormatError, reasonOf } from "@madformer/artifacts";
import { extract, type Header } from "tar-stream";
import type { WebDatasetSample } from "./sample.js";

export interface ReadWebDatasetOptions {
  /** Extensions to keep, in lower case; other files are passed over unread. Default: all. */
  readonly extensions?: readonly string[];
  /** Most bytes of one sample's kept files. Default: 64 MiB. */
  readonly maxSampleBytes?: number;
  /** Stops reading; the generator then throws its reason. */
  readonly signal?: AbortSignal;
}

const MAX_SAMPLE_BYTES = 64 * 2 ** 20;
const MAX_NAME_CHARACTERS = 1024;
const MAX_FILES_PER_SAMPLE = 100;
const BLOCK_BYTES = 512;

/**
 * The samples of a tar in a file, in order; see {@link readSamples}.
 *
 * @throws {Error} If the file cannot be read.
 */
export async function* readWebDataset(
  path: string,
  options: ReadWebDatasetOptions = {},
): AsyncGenerator<WebDatasetSample, void, undefined> {
  yield* readSamples(createReadStream(path, { highWaterMark: 1 << 18 }), path, options);
}

/**
 * The samples of a tar that comes in pieces, in order. The tar may be a stranger's: names stay names, sizes are bounded,
 * what is not understood is an error. Files of one sample lie side by side, as WebDataset asks. Folders are passed over.
 * One sample is held at a time. Ending early closes the source.
 *
 * @param chunks The tar's bytes. Its iterator is closed at the end, however it ends.
 * @param name What messages call it.
 * @throws {FormatError} If it is no tar or is cut short; if it holds anything but files and folders; if a name leaves its
 *   folder or has no extension; if a key or an extension comes twice; if a sample is too large. It names the entry.
 * @throws `options.signal.reason` if aborted.
 */
export async function* readSamples(
  chunks: AsyncIterable<Uint8Array>,
  name: string,
  options: ReadWebDatasetOptions = {},
): AsyncGenerator<WebDatasetSample, void, undefined> {
  const { maxSampleBytes = MAX_SAMPLE_BYTES, signal } = options;
  const kept = options.extensions && new Set(options.extensions);
  signal?.throwIfAborted();

  const keys = new Set<string>();
  let sample: OpenSample | undefined;
  for await (const { file, body } of readFiles(chunks, name, signal)) {
    const [key, extension] = split(name, file.name);
    if (sample?.key !== key) {
      if (sample && sample.files.size > 0) yield sample;
      if (keys.has(key)) throw problem(name, file.name, `its key was there before, apart from it`);
      keys.add(key);
      sample = new OpenSample(key);
    }
    if (sample.seen.has(extension)) throw problem(name, file.name, "its key and extension were there before");
    if (sample.seen.size >= MAX_FILES_PER_SAMPLE)
      throw problem(name, file.name, `its key has more than ${MAX_FILES_PER_SAMPLE} files`);
    sample.seen.add(extension);
    if (kept && !kept.has(extension)) continue;
    if (sample.bytes + file.size > maxSampleBytes) {
      const found = `with it its sample takes ${sample.bytes + file.size} bytes, expected at most ${maxSampleBytes}`;
      throw problem(name, file.name, found);
    }
    sample.bytes += file.size;
    sample.files.set(extension, await body());
  }
  if (sample && sample.files.size > 0) yield sample;
}

class OpenSample implements WebDatasetSample {
  readonly files = new Map<string, Uint8Array>();
  readonly seen = new Set<string>();
  bytes = 0;
  constructor(readonly key: string) {}
}

interface TarFile {
  readonly file: { readonly name: string; readonly size: number };
  /** Its content; passed over if not asked for. */
  readonly body: () => Promise<Uint8Array>;
}

/** The plain files of a tar. */
async function* readFiles(
  chunks: AsyncIterable<Uint8Array>,
  name: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<TarFile, void, undefined> {
  let [received, end] = [0, 0]; // bytes so far; where the last entry ends
  const counted = async function* () {
    for await (const chunk of chunks) {
      received += chunk.length;
      yield chunk;
    }
  };
  const source = Readable.from(counted(), { objectMode: false });
  const tar = extract();
  let sourceError: Error | undefined;
  source.on("error", (error) => tar.destroy((sourceError = error)));
  if (signal) addAbortSignal(signal, source);
  source.pipe(tar);
  try {
    for await (const entry of tar) {
      const { size = 0, type } = entry.header;
      const file = { name: entry.header.name, size };
      end = byteOffset(entry.header) + Math.ceil(size / BLOCK_BYTES) * BLOCK_BYTES;
      let taken = false;
      if (type === "file" || type === "contiguous-file") {
        yield { file, body: () => ((taken = true), collect(entry, size)) };
      } else if (type !== "directory") {
        throw problem(name, file.name, `it is a ${type ?? "thing of unknown type"}, expected a file`);
      }
      if (!taken) entry.resume();
    }
  } catch (cause) {
    signal?.throwIfAborted();
    if (cause instanceof FormatError) throw cause;
    if (sourceError) throw new Error(`Cannot read ${JSON.stringify(name)}: ${reasonOf(sourceError)}`, { cause });
    throw new FormatError(name, `it is damaged or no tar after ${end} bytes (${(cause as Error).message})`, { cause });
  } finally {
    source.destroy();
    tar.destroy();
  }
  // Two blocks of zeros end a tar. Without them a file that was cut off between two entries would look whole.
  if (received < end + 2 * BLOCK_BYTES)
    throw new FormatError(name, `it ends after ${received} bytes without the blocks that end a tar: it was cut off`);
}

/** Where an entry's content begins; the types of tar-stream lack it. */
function byteOffset(header: Header): number {
  return (header as Header & { readonly byteOffset: number }).byteOffset;
}

async function collect(entry: AsyncIterable<unknown>, size: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(size);
  let at = 0;
  for await (const chunk of entry as AsyncIterable<Uint8Array>) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

/** Key and extension of a name, as WebDataset splits them: at the first dot of the last part. */
function split(tar: string, name: string): readonly [key: string, extension: string] {
  if (name.length > MAX_NAME_CHARACTERS)
    throw problem(tar, name, `its name has ${name.length} characters, expected at most ${MAX_NAME_CHARACTERS}`);
  const plain = name.replace(/^(\.\/)+/, "");
  // eslint-disable-next-line no-control-regex -- control characters are what is looked for
  if (/^\/|^[A-Za-z]:|(^|\/)\.\.?(\/|$)|\/\/|[\\\u0000-\u001f\u007f]/.test(plain))
    throw problem(tar, name, "its name leaves its folder or holds control characters");
  const match = /^((?:.*\/)?[^./]+)\.([^/]+)$/.exec(plain);
  if (!match) throw problem(tar, name, `its name has no key and extension, expected such as "0001.webp"`);
  return [match[1]!, match[2]!.toLowerCase()];
}

function problem(tar: string, entry: string, what: string): FormatError {
  const shown = entry.length > 200 ? `${entry.slice(0, 200)}...` : entry;
  return new FormatError(tar, `entry ${JSON.stringify(shown)}: ${what}`);
}

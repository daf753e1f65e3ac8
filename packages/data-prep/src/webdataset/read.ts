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
  const { signal } = options;
  signal?.throwIfAborted();
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
  const samples = new Grouping(name, options);
  try {
    for await (const entry of tar) {
      const { name: file, size, type } = entry.header;
      // For a size that is no number, tar-stream says null, and waits for ever.
      if (!Number.isSafeInteger(size)) throw problem(name, file, "its size is no number");
      end = byteOffset(entry.header) + Math.ceil(size / BLOCK_BYTES) * BLOCK_BYTES;
      if (type === "directory") {
        entry.resume();
        continue;
      }
      if (type !== "file" && type !== "contiguous-file")
        throw problem(name, file, `it is a ${type ?? "thing of unknown type"}, expected a file`);
      const { before, open, extension } = samples.place(file, size);
      if (before) yield before;
      if (extension === undefined) entry.resume();
      else open.files.set(extension, await collect(entry, size));
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
  const last = samples.last();
  if (last) yield last;
}

/** A sample whose files are coming in. */
class OpenSample implements WebDatasetSample {
  readonly files = new Map<string, Uint8Array>();
  readonly seen = new Set<string>();
  bytes = 0;
  constructor(readonly key: string) {}
}

/** Finds the sample that each file of a tar belongs to. */
class Grouping {
  private readonly keys = new Set<string>();
  private readonly kept: ReadonlySet<string> | undefined;
  private readonly maxBytes: number;
  private open: OpenSample | undefined;

  constructor(
    private readonly tar: string,
    { extensions, maxSampleBytes = MAX_SAMPLE_BYTES }: ReadWebDatasetOptions,
  ) {
    this.kept = extensions && new Set(extensions);
    this.maxBytes = maxSampleBytes;
  }

  /**
   * Where the next file belongs: `open`, under `extension`, or nowhere if that is undefined. `before` is the sample that
   * it ends, if that has files.
   */
  place(file: string, size: number): { before?: OpenSample; open: OpenSample; extension: string | undefined } {
    const [key, extension] = split(this.tar, file);
    let before: OpenSample | undefined;
    let { open } = this;
    if (open?.key !== key) {
      if (this.keys.has(key)) throw problem(this.tar, file, "its key was there before, apart from it");
      this.keys.add(key);
      before = this.last();
      open = this.open = new OpenSample(key);
    }
    if (open.seen.has(extension)) throw problem(this.tar, file, "its key and extension were there before");
    if (open.seen.size >= MAX_FILES_PER_SAMPLE)
      throw problem(this.tar, file, `its key has more than ${MAX_FILES_PER_SAMPLE} files`);
    open.seen.add(extension);
    const keep = this.kept === undefined || this.kept.has(extension);
    if (keep) open.bytes += size;
    if (open.bytes > this.maxBytes)
      throw problem(this.tar, file, `with it its sample takes ${open.bytes} bytes, expected at most ${this.maxBytes}`);
    return { ...(before && { before }), open, extension: keep ? extension : undefined };
  }

  /** The sample that is open, if it has files. */
  last(): OpenSample | undefined {
    return this.open && this.open.files.size > 0 ? this.open : undefined;
  }
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

import { createReadStream } from "node:fs";
import { addAbortSignal, Readable } from "node:stream";
import { FormatError, reasonOf } from "@madformer/artifacts";
import { extract, type Header } from "tar-stream";
import { entryName, sparseName, splitName } from "./name.js";
import { otherThanTar } from "./no-tar.js";
import type { OnOdd } from "./oddities.js";
import type { WebDatasetSample } from "./sample.js";

export interface ReadWebDatasetOptions {
  /**
   * Extensions to keep, in lower case; `png` stands for `left.png` as well. Other files are passed over unread.
   * Default: all.
   */
  readonly extensions?: readonly string[];
  /**
   * Whether to keep a file of another extension, too, by its first 16 bytes. One that makes a sample too large is not
   * kept.
   */
  readonly sniff?: (start: Uint8Array, extension: string) => boolean;
  /** Keep no more than the first 16 bytes of each file: what a tar holds, in little memory. */
  readonly startsOnly?: boolean;
  /** Also give samples none of whose files are kept. */
  readonly bare?: boolean;
  /** Most bytes of a kept file, by the last part of its extension; larger ones are passed over. */
  readonly maxFileBytes?: Readonly<Record<string, number>>;
  /** Most bytes of one sample's kept files. Default: 64 MiB. */
  readonly maxSampleBytes?: number;
  /** Told of entries that are passed over or renamed. */
  readonly onOdd?: OnOdd;
  /** Stops reading; the generator then throws its reason. */
  readonly signal?: AbortSignal;
}

const MAX_SAMPLE_BYTES = 64 * 2 ** 20;
const MAX_FILES_PER_SAMPLE = 100;
const BLOCK_BYTES = 512;
const START_BYTES = 16;

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
 * The samples of a tar that comes in pieces, in order: of POSIX, GNU, or V7. The tar may be a stranger's: names stay
 * names, sizes are bounded. Files of one sample lie side by side, as WebDataset asks. Folders are passed over; so is,
 * and `onOdd` is told, what the webdataset library passes over: links, devices, names without key and extension. One
 * sample is held at a time. Ending early closes the source.
 *
 * @param chunks The tar's bytes. Its iterator is closed at the end, however it ends.
 * @param name What messages call it.
 * @throws {FormatError} If it is no tar or is cut short; if a name leaves its folder; if a key or an extension comes
 *   twice; if a sample is too large. It names the entry.
 * @throws `options.signal.reason` if aborted.
 */
export async function* readSamples(
  chunks: AsyncIterable<Uint8Array>,
  name: string,
  options: ReadWebDatasetOptions = {},
): AsyncGenerator<WebDatasetSample, void, undefined> {
  const { signal, onOdd = () => undefined } = options;
  signal?.throwIfAborted();
  let [received, end, start] = [0, 0, new Uint8Array()]; // bytes so far; where the last entry ends; the first bytes
  const counted = async function* () {
    for await (const chunk of chunks) {
      if (start.length < 64) start = Buffer.concat([start, chunk.subarray(0, 64)]);
      received += chunk.length;
      yield chunk;
    }
  };
  const source = Readable.from(counted(), { objectMode: false });
  // V7 tars have no magic; a header's checksum must be right nevertheless.
  const tar = extract({ filenameEncoding: "latin1", allowUnknownFormat: true } as Parameters<typeof extract>[0]);
  let sourceError: Error | undefined;
  source.on("error", (error) => tar.destroy((sourceError = error)));
  if (signal) addAbortSignal(signal, source);
  source.pipe(tar);
  const samples = new Grouping(name, options);
  try {
    for await (const entry of tar) {
      const { size = 0, type } = entry.header;
      const { text: file, latin1 } = entryName(entry.header);
      // For a size that is no number, tar-stream says null, and waits for ever.
      if (!Number.isSafeInteger(size)) throw problem(name, file, "its size is no number");
      end = byteOffset(entry.header) + Math.ceil(size / BLOCK_BYTES) * BLOCK_BYTES;
      const isFile = type === "file" || type === "contiguous-file";
      const sparse = sparseName(entry.header);
      const split = splitName(file);
      if (type === "directory" || (isFile && file.endsWith("/"))) entry.resume();
      else if (sparse !== undefined) {
        onOdd("passed over", "that are sparse, with only parts of them in it", sparse || file);
        entry.resume();
      } else if (split.kind === "refused") throw problem(name, file, split.why);
      else if (!isFile || split.kind === "passed") {
        const why = split.kind === "passed" ? split.why : `that are no files (${type ?? "of unknown type"})`;
        onOdd("passed over", why, file);
        entry.resume();
      } else {
        if (latin1) onOdd("read as Latin-1", "whose names are no UTF-8", file);
        if (split.renamed) onOdd("renamed", "whose names are no plain relative paths", file);
        const { before, keep } = samples.place(file, split, size);
        if (before) yield before;
        await keep(entry);
      }
    }
  } catch (cause) {
    signal?.throwIfAborted();
    if (cause instanceof FormatError) throw cause;
    if (sourceError) throw new Error(`Cannot read ${JSON.stringify(name)}: ${reasonOf(sourceError)}`, { cause });
    const reason = `it is damaged or no tar after ${end} bytes (${(cause as Error).message})`;
    throw new FormatError(name, (end === 0 ? otherThanTar(start) : undefined) ?? reason, { cause });
  } finally {
    source.destroy();
    tar.destroy();
  }
  // Two blocks of zeros end a tar. Without them a file that was cut off between two entries would look whole.
  if (received < end + 2 * BLOCK_BYTES) {
    const reason = `it ends after ${received} bytes without the blocks that end a tar: it was cut off`;
    throw new FormatError(name, (end === 0 ? otherThanTar(start) : undefined) ?? reason);
  }
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
  private open: OpenSample | undefined;

  constructor(
    private readonly tar: string,
    private readonly options: ReadWebDatasetOptions,
  ) {
    this.kept = options.extensions && new Set(options.extensions);
  }

  /**
   * Where the next file belongs. `before` is the sample that it ends, if that is to be given; `keep` reads what is to
   * be kept of it, and must be called.
   */
  place(
    file: string,
    { key, extension }: { readonly key: string; readonly extension: string },
    size: number,
  ): { before?: OpenSample; keep: (content: Content) => Promise<void> } {
    const {
      maxSampleBytes: most = MAX_SAMPLE_BYTES,
      maxFileBytes = {},
      sniff,
      startsOnly = false,
      onOdd,
    } = this.options;
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
      throw problem(
        this.tar,
        file,
        `its key has more than ${MAX_FILES_PER_SAMPLE} files; a key ends at the first dot of a name`,
      );
    open.seen.add(extension);
    const last = extension.slice(extension.lastIndexOf(".") + 1);
    const known = this.kept === undefined || this.kept.has(extension) || this.kept.has(last);
    const limit = (Object.hasOwn(maxFileBytes, last) ? maxFileBytes[last] : undefined) ?? Infinity;
    if (known && size <= limit) {
      open.bytes += size;
      if (open.bytes > most)
        throw problem(this.tar, file, `with it its sample takes ${open.bytes} bytes, expected at most ${most}`);
    }
    if (known && size > limit) onOdd?.("passed over", `of more than ${limit} bytes`, file);
    const sample = open;
    const wanted = (start: Uint8Array): boolean => {
      if (known) return size <= limit;
      if (!sniff?.(start, extension)) return false;
      const fits = sample.bytes + size <= most;
      if (fits) sample.bytes += size;
      else onOdd?.("passed over", `of other kinds, with which a sample takes more than ${most} bytes`, file);
      return fits;
    };
    const keep = async (content: Content): Promise<void> => {
      const bytes = await collect(content, size, wanted, startsOnly);
      if (bytes) sample.files.set(extension, bytes);
    };
    return { ...(before && { before }), keep };
  }

  /** The sample that is open, if it is to be given. */
  last(): OpenSample | undefined {
    return this.open && (this.open.files.size > 0 || this.options.bare) ? this.open : undefined;
  }
}

type Content = AsyncIterable<unknown>;

/** Where an entry's content begins; the types of tar-stream lack it. */
function byteOffset(header: Header): number {
  return (header as Header & { readonly byteOffset: number }).byteOffset;
}

/** Reads all of a file, and keeps it, or its start, if that is wanted. */
async function collect(
  content: Content,
  size: number,
  wanted: (start: Uint8Array) => boolean,
  startsOnly: boolean,
): Promise<Uint8Array | undefined> {
  let [bytes, at, isWanted]: [Uint8Array, number, boolean | undefined] = [
    new Uint8Array(Math.min(size, START_BYTES)),
    0,
    undefined,
  ];
  const decide = (): void => {
    isWanted = wanted(bytes);
    if (!isWanted || startsOnly) return;
    const whole = new Uint8Array(size);
    whole.set(bytes);
    bytes = whole;
  };
  for await (const chunk of content as AsyncIterable<Uint8Array>) {
    for (let taken = 0; taken < chunk.length && at < bytes.length;) {
      const part = chunk.subarray(taken, taken + bytes.length - at);
      bytes.set(part, at);
      [taken, at] = [taken + part.length, at + part.length];
      if (isWanted === undefined && at === bytes.length) decide();
    }
  }
  if (isWanted === undefined) decide();
  return isWanted ? bytes : undefined;
}

function problem(tar: string, entry: string, what: string): FormatError {
  const shown = entry.length > 200 ? `${entry.slice(0, 200)}...` : entry;
  return new FormatError(tar, `entry ${JSON.stringify(shown)}: ${what}`);
}

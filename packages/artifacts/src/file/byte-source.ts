import { open } from "node:fs/promises";
import { FormatError } from "../format-error.js";

/** `fs.read` takes less than 2³¹ bytes at once. */
const READ_BYTES = 2 ** 30;

/**
 * Bytes that are read by position: a file, or an array in memory. Nothing is read before it is asked for, and no read
 * allocates more than the source holds.
 */
export class ByteSource implements AsyncDisposable {
  private constructor(
    readonly path: string,
    /** Bytes it holds. */
    readonly size: number,
    private readonly readInto: (target: Uint8Array, offset: number) => Promise<number>,
    private readonly end: () => Promise<void>,
  ) {}

  /**
   * @throws {Error} If the file cannot be opened; `cause` is the system's error.
   */
  static async open(path: string): Promise<ByteSource> {
    try {
      const file = await open(path, "r");
      const stat = await file.stat();
      if (!stat.isFile()) {
        await file.close();
        throw new Error(stat.isDirectory() ? "it is a folder" : "it is no file");
      }
      const readInto = async (target: Uint8Array, offset: number): Promise<number> =>
        (await file.read(target, 0, target.length, offset)).bytesRead;
      return new ByteSource(path, stat.size, readInto, () => file.close());
    } catch (cause) {
      throw new Error(`Cannot open ${JSON.stringify(path)}: ${reasonOf(cause)}`, { cause });
    }
  }

  /** @param bytes Borrowed: must not change while it is read. */
  static of(bytes: Uint8Array, path = "memory"): ByteSource {
    const readInto = async (target: Uint8Array, offset: number): Promise<number> => {
      target.set(bytes.subarray(offset, offset + target.length));
      return target.length;
    };
    return new ByteSource(path, bytes.length, readInto, async () => undefined);
  }

  /** The error to throw about this source. */
  error(problem: string, cause?: unknown): FormatError {
    return new FormatError(this.path, problem, cause === undefined ? undefined : { cause });
  }

  /**
   * Bytes [offset, offset + length).
   *
   * @param what What is read, for the message: `its header`.
   * @returns A new array at the start of a buffer of its own, so that it can be viewed as any type.
   * @throws {FormatError} If they are not all inside the source.
   */
  async read(offset: number, length: number, what = "it"): Promise<Uint8Array<ArrayBuffer>> {
    if (!(offset >= 0 && length >= 0 && offset + length <= this.size))
      throw this.error(`${what} ends at byte ${offset + length}, but the file holds ${this.size}`);
    const target = allocate(length, this, what);
    await this.fill(target, offset, what);
    return target;
  }

  /**
   * Bytes from `offset` on, into an array of the caller's.
   *
   * @throws {FormatError} If fewer are left.
   */
  async fill(target: Uint8Array, offset: number, what = "it"): Promise<void> {
    for (let done = 0; done < target.length;) {
      const count = await this.readInto(target.subarray(done, done + READ_BYTES), offset + done);
      if (count === 0) throw this.error(`${what} ends at byte ${offset + done}: the file became shorter`);
      done += count;
    }
  }

  /** Closes the file. Reads under way fail. */
  async close(): Promise<void> {
    await this.end();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/**
 * Zeros to read into.
 *
 * @throws {FormatError} If one array cannot be that long.
 */
export function allocate(length: number, source: ByteSource, what: string): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(length);
  } catch (cause) {
    throw source.error(`${what} takes ${length} bytes, more than one array can hold here`, cause);
  }
}

const REASONS: Record<string, string> = {
  ENOENT: "there is no such file",
  EACCES: "permission denied",
  EISDIR: "it is a folder",
  ENOTDIR: "a part of its path is no folder",
};

/** What the system said, in words. */
export function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return (code !== undefined && REASONS[code]) || message;
}

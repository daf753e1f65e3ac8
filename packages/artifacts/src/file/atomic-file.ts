import { createHash, randomBytes } from "node:crypto";
import { open, rename, rm, type FileHandle } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { reasonOf } from "./byte-source.js";
import { HashingThread } from "./hashing-thread.js";

/** A file being written, under a temporary name. */
export interface FileWriter {
  /** Where the next `append` writes. */
  readonly position: number;
  append(bytes: Uint8Array): Promise<void>;
  /** Replaces bytes that were written before. */
  patch(bytes: Uint8Array, position: number): Promise<void>;
}

/** Small writes are gathered to this many bytes, so that a thousand tiny records are not a thousand system calls. */
const BUFFER_BYTES = 1 << 20;
/** From here on it pays to start a thread. */
const THREAD_BYTES = 2 ** 24;

/**
 * Writes a file whole or not at all: under a temporary name in the same folder, flushed to the disk, then renamed. Who
 * reads `path` sees the old file or the new one; if `write` throws, the old one stays and nothing is left behind.
 *
 * @throws {Error} If it cannot be written; `cause` is the system's error. What `write` throws passes unchanged.
 */
export async function writeAtomically(path: string, write: (file: FileWriter) => Promise<void>): Promise<void> {
  await using file = await AtomicFile.create(path);
  await write(file);
  await file.finish();
}

/**
 * The same, hashed on its way: many bytes by a thread of its own, which writes and hashes while the next are made.
 *
 * @param sizeBytes How many there will be, about.
 * @returns SHA-256 and size of what was written.
 */
export async function writeHashed(
  path: string,
  sizeBytes: number,
  write: (append: (bytes: Uint8Array) => Promise<void>) => Promise<void>,
): Promise<{ sha256: string; bytes: number }> {
  await using file = await AtomicFile.create(path);
  const written = await (sizeBytes > THREAD_BYTES ? writeByThread(file, write) : writeHere(file, write));
  await file.finish();
  return written;
}

type Write = Parameters<typeof writeHashed>[2];

async function writeByThread(file: AtomicFile, write: Write): Promise<{ sha256: string; bytes: number }> {
  await using thread = new HashingThread();
  await using hashed = thread.file(file.fd);
  await write(async (piece) => await hashed.append(piece));
  return { sha256: await hashed.digest(), bytes: hashed.size };
}

async function writeHere(file: AtomicFile, write: Write): Promise<{ sha256: string; bytes: number }> {
  const hash = createHash("sha256");
  await write(async (piece) => {
    const written = file.append(piece);
    hash.update(piece); // while another thread writes
    await written;
  });
  return { sha256: hash.digest("hex"), bytes: file.position };
}

/**
 * The same as `writeAtomically` for a writer that takes its content piece by piece: `finish` gives the file its name;
 * without it, nothing is left behind when it is disposed of.
 */
export class AtomicFile implements FileWriter, AsyncDisposable {
  private readonly buffer = new Uint8Array(BUFFER_BYTES);
  private buffered = 0;
  private flushed = 0;
  private open = true;

  private constructor(
    readonly path: string,
    private readonly temporary: string,
    private readonly handle: FileHandle,
  ) {}

  /** @throws {Error} If the file cannot be made; `cause` is the system's error. */
  static async create(path: string): Promise<AtomicFile> {
    const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString("hex")}.tmp`);
    try {
      return new AtomicFile(path, temporary, await open(temporary, "wx"));
    } catch (cause) {
      throw new Error(`Cannot write ${JSON.stringify(path)}: ${reasonOf(cause)}`, { cause });
    }
  }

  /** For who writes to it by other means. */
  get fd(): number {
    return this.handle.fd;
  }

  get position(): number {
    return this.flushed + this.buffered;
  }

  async append(bytes: Uint8Array): Promise<void> {
    if (this.buffered + bytes.length > BUFFER_BYTES) await this.flush();
    if (bytes.length > BUFFER_BYTES) {
      await writeAll(this.handle, bytes, this.flushed);
      this.flushed += bytes.length;
    } else {
      this.buffer.set(bytes, this.buffered);
      this.buffered += bytes.length;
    }
  }

  async patch(bytes: Uint8Array, position: number): Promise<void> {
    if (position >= this.flushed) this.buffer.set(bytes, position - this.flushed);
    else {
      await this.flush(); // part of it may still be here
      await writeAll(this.handle, bytes, position);
    }
  }

  /** Writes what is left, and gives the file its name. */
  async finish(): Promise<void> {
    await this.flush();
    await this.handle.sync();
    await this.close();
    await rename(this.temporary, this.path);
    await syncFolder(dirname(this.path));
  }

  /** Removes what was written, unless `finish` was reached. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
    await rm(this.temporary, { force: true });
  }

  private async flush(): Promise<void> {
    await writeAll(this.handle, this.buffer.subarray(0, this.buffered), this.flushed);
    this.flushed += this.buffered;
    this.buffered = 0;
  }

  private async close(): Promise<void> {
    if (!this.open) return;
    this.open = false;
    await this.handle.close();
  }
}

/** Writes at most 1 GiB per call: a system call takes less than 2 GiB, and may write less than it was given. */
async function writeAll(handle: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    const length = Math.min(bytes.length - done, 2 ** 30);
    done += (await handle.write(bytes, done, length, position + done)).bytesWritten;
  }
}

/** Makes the new name durable. Not every system lets a folder be opened; there the rename has to do. */
async function syncFolder(folder: string): Promise<void> {
  try {
    const handle = await open(folder, "r");
    await handle.sync().finally(() => handle.close());
  } catch {
    // Windows
  }
}

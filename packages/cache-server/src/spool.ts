import { createHash } from "node:crypto";
import { mkdtemp, open, rm, type FileHandle } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";

/**
 * A folder for bodies on their way. A body is here whole before it goes on: a client that was promised one and gets
 * half of it fails a run, and what of an upload was cut off must not be stored.
 */
export class Spool implements AsyncDisposable {
  private count = 0;

  private constructor(private readonly folder: string) {}

  /** @param parent Where the folder is made; that of the system for temporary files by default. */
  static async open(parent = tmpdir()): Promise<Spool> {
    return new Spool(await mkdtemp(join(parent, "cache-server-")));
  }

  /**
   * A new, empty file. It loses its name at once, where the system allows that: nothing is left of it, however this
   * process ends.
   */
  async file(): Promise<SpoolFile> {
    const path = join(this.folder, String(this.count++));
    const handle = await open(path, "wx+", 0o600);
    await rm(path).catch(() => undefined);
    return new SpoolFile(path, handle);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** A file that is written once, then read, and is gone when it is disposed of. */
export class SpoolFile implements AsyncDisposable {
  private readonly hash = createHash("sha256");
  private written = 0;
  private digest: string | undefined;
  private isOpen = true;

  constructor(
    private readonly path: string,
    private readonly handle: FileHandle,
  ) {}

  get bytes(): number {
    return this.written;
  }

  /** SHA-256 of what was written. Nothing is written after it was asked for. */
  get sha256(): string {
    return (this.digest ??= this.hash.digest("hex"));
  }

  async append(chunk: Uint8Array): Promise<void> {
    this.hash.update(chunk);
    for (let done = 0; done < chunk.length;)
      done += (await this.handle.write(chunk, done, chunk.length - done)).bytesWritten;
    this.written += chunk.length;
  }

  /** The content, from its beginning. */
  open(): Readable {
    return this.handle.createReadStream({ start: 0, autoClose: false, highWaterMark: 2 ** 18 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.isOpen) return;
    this.isOpen = false;
    await this.handle.close();
    await rm(this.path, { force: true });
  }
}

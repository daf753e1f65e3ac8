import type { Readable } from "node:stream";

/** Something to write, whose size is known. */
export interface Content {
  readonly bytes: number;
  /** From its beginning, each time. */
  open(): Readable;
}

export interface Blob {
  readonly bytes: number;
  readonly body: AsyncIterable<Uint8Array>;
}

/**
 * Where a cache lies: whole things under names with forward slashes. It need not be honest about what it holds, nor
 * fast, nor there: who uses it checks what comes, and ends waits by itself. `signal` tells it that nobody waits any
 * more.
 */
export interface BlobStore {
  /** What messages call it. */
  readonly name: string;
  /** undefined if nothing has this name. */
  read(name: string, signal: AbortSignal): Promise<Blob | undefined>;
  /** Bytes; undefined if nothing has this name. */
  size(name: string, signal: AbortSignal): Promise<number | undefined>;
  /**
   * Gives a name to a content: whole or not at all.
   *
   * @param once Whether what has the name keeps it.
   * @returns Whether the name is the content's now.
   */
  write(name: string, content: Content, once: boolean, signal: AbortSignal): Promise<boolean>;
  close(): Promise<void>;
}

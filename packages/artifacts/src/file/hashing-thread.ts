import { Worker } from "node:worker_threads";
import type { Digest } from "../store/manifest.js";

/** Bytes go to the thread in pieces of this size. */
const PIECE_BYTES = 1 << 20;
/** Pieces of a file: one is filled while another is written, and one waits. */
const PIECES = 3;
/**
 * Bytes of one write. Linux takes memory for them in one go, up to this size from what lies ready: at 64 KiB and more
 * it takes larger stretches, which a virtual machine may have to get from its host. *Measured* (ext4, Linux 6.18,
 * Firecracker): 0.15 s of a processor for 512 MiB, 0.2 s at 16 KiB, 0.2 to 0.9 s at 64 KiB, 0.4 to 0.5 s at 1 MiB.
 */
const WRITE_BYTES = 1 << 15;

const THREAD = `
const { createHash } = require("node:crypto");
const { readSync, writeSync } = require("node:fs");
const { parentPort } = require("node:worker_threads");
const files = new Map();
const work = {
  begin: ({ id, fd, memory }) => void files.set(id, { fd, memory, hash: createHash("sha256") }),
  read({ id, at, bytes }) {
    const { fd, hash, memory } = files.get(id);
    const count = readSync(fd, memory, 0, bytes, at);
    hash.update(memory.subarray(0, count));
    return count;
  },
  write({ id, at, from, bytes }) {
    const { fd, hash, memory } = files.get(id);
    for (let done = 0; done < bytes;)
      done += writeSync(fd, memory, from + done, Math.min(${WRITE_BYTES}, bytes - done), at + done);
    hash.update(memory.subarray(from, from + bytes));
  },
  digest: ({ id }) => files.get(id).hash.copy().digest("hex"),
  end: ({ id }) => void files.delete(id),
};
parentPort.on("message", (asked) => {
  try {
    parentPort.postMessage({ value: work[asked.what](asked) });
  } catch ({ code, message }) {
    parentPort.postMessage({ failure: { code, message } });
  }
});`;

/** What the thread is asked for, of which file. */
interface Message {
  readonly id: number;
  readonly what: "begin" | "read" | "write" | "digest" | "end";
  readonly fd?: number;
  /** What both threads see. */
  readonly memory?: Uint8Array;
  /** Where in the file. */
  readonly at?: number;
  /** Where in the memory. */
  readonly from?: number;
  readonly bytes?: number;
}

/** What the thread answers: in the order in which it was asked. */
interface Answer {
  readonly value?: unknown;
  readonly failure?: { readonly code?: string; readonly message: string };
}

type Told = (answer: Answer) => void;

/**
 * A thread that writes files and hashes what it writes, while whoever has the bytes gets the next: receiving, hashing
 * and writing cost about the same, so one thread for all of them takes twice as long. It starts with the first file,
 * and keeps no process alive that waits for nothing of it.
 */
export class HashingThread implements AsyncDisposable {
  private worker: Worker | undefined;
  private readonly waiting: Told[] = [];
  private files = 0;
  private failure: Error | undefined;

  /**
   * A file that the thread writes.
   *
   * @param fd Open for writing, for reading as well if it is resumed. Borrowed; it stays open until the file is
   *   disposed of: another file could have its number then.
   */
  file(fd: number): HashedFile {
    return new HashedFile(this, this.files++, fd);
  }

  /** Asks for something. What is asked first is done first. */
  ask(message: Message, told: Told): void {
    if (this.failure !== undefined) return told({ failure: this.failure });
    this.waiting.push(told);
    const worker = (this.worker ??= this.start());
    if (this.waiting.length === 1) worker.ref();
    worker.postMessage(message);
  }

  private start(): Worker {
    const worker = new Worker(THREAD, { eval: true });
    worker.on("message", (answer: Answer) => {
      if (this.waiting.length === 1) worker.unref();
      this.waiting.shift()?.(answer);
    });
    const ended = (cause: Error): void => {
      this.failure ??= cause;
      for (const told of this.waiting.splice(0)) told({ failure: this.failure });
    };
    worker.on("error", ended).on("exit", () => ended(new Error("the thread that writes has ended")));
    return worker;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.worker?.terminate();
  }
}

/** A file that a thread writes and hashes. */
export class HashedFile implements AsyncDisposable {
  private readonly memory = new Uint8Array(new SharedArrayBuffer(PIECES * PIECE_BYTES));
  /** Which piece is being filled, and how far. */
  private piece = 0;
  private filled = 0;
  /** Bytes that the thread was given. */
  private sent = 0;
  /** What the thread has not answered yet: no more pieces than that are on their way. */
  private asked = 0;
  private failure: Error | undefined;
  private readonly wakes: (() => void)[] = [];

  /** Use `HashingThread.file`. */
  constructor(
    private readonly thread: HashingThread,
    private readonly id: number,
    private readonly fd: number,
  ) {
    this.begin();
  }

  /** Bytes of the file, with those that are not written yet. */
  get size(): number {
    return this.sent + this.filled;
  }

  /**
   * Takes what the file holds already for its beginning.
   *
   * @throws {Error} The system's, if it cannot be read.
   */
  async resume(): Promise<void> {
    for (let count = -1; count !== 0; this.sent += count) {
      const told = (value: unknown): void => void (count = Number(value ?? 0));
      this.ask({ what: "read", at: this.sent, bytes: this.memory.length }, told);
      await this.flush();
    }
  }

  /**
   * Bytes for its end. Copied: they are the caller's again at once.
   *
   * @returns Nothing if there is room for more: to wait for each small piece costs as much as to hash it.
   * @throws {Error} The system's, if it cannot be written.
   */
  append(bytes: Uint8Array): Promise<void> | undefined {
    const taken = this.take(bytes);
    return this.hasRoom() && !this.failure ? undefined : this.appendRest(bytes.subarray(taken));
  }

  private async appendRest(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length || !this.hasRoom(); at += this.take(bytes.subarray(at))) await this.answer();
    if (this.failure) throw this.failure;
  }

  private hasRoom(): boolean {
    return this.asked < PIECES;
  }

  /** Copies as many bytes as there is room for, and says how many. */
  private take(bytes: Uint8Array): number {
    let done = 0;
    while (done < bytes.length && this.hasRoom()) {
      const end = Math.min(bytes.length, done + PIECE_BYTES - this.filled);
      this.memory.set(bytes.subarray(done, end), this.piece * PIECE_BYTES + this.filled);
      this.filled += end - done;
      done = end;
      if (this.filled === PIECE_BYTES) this.send();
    }
    return done;
  }

  private send(): void {
    const [at, from, bytes] = [this.sent, this.piece * PIECE_BYTES, this.filled];
    if (bytes === 0) return;
    this.sent += bytes;
    this.filled = 0;
    this.piece = (this.piece + 1) % PIECES;
    this.ask({ what: "write", at, from, bytes });
  }

  /**
   * Waits until all is written.
   *
   * @throws {Error} The system's, if it cannot be.
   */
  async flush(): Promise<void> {
    this.send();
    while (this.asked > 0) await this.answer();
    if (this.failure) throw this.failure;
  }

  /** Begins again with nothing. Who calls it truncates the file when it is done. */
  async restart(): Promise<void> {
    this.filled = 0;
    while (this.asked > 0) await this.answer();
    this.failure = undefined;
    this.sent = 0;
    this.begin();
  }

  /**
   * SHA-256 of all bytes.
   *
   * @throws {Error} The system's, if they cannot be written.
   */
  async digest(): Promise<Digest> {
    let digest = "";
    this.send();
    this.ask({ what: "digest" }, (value) => (digest = String(value)));
    await this.flush();
    return digest;
  }

  /** Waits for what is under way, after which the file may be closed. What was not flushed may be lost. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.ask({ what: "end" });
    while (this.asked > 0) await this.answer();
  }

  private begin(): void {
    this.ask({ what: "begin", fd: this.fd, memory: this.memory });
  }

  private ask(message: Omit<Message, "id">, tell?: (value: unknown) => void): void {
    this.asked++;
    this.thread.ask({ id: this.id, ...message }, ({ value, failure }) => {
      this.asked--;
      if (failure) this.failure ??= Object.assign(new Error(failure.message), { code: failure.code });
      tell?.(value);
      for (const wake of this.wakes.splice(0)) wake();
    });
  }

  /** Waits for the next answer of the thread. */
  private async answer(): Promise<void> {
    if (this.asked > 0) await new Promise<void>((resolve) => this.wakes.push(resolve));
  }
}

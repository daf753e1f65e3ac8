import { Readable } from "node:stream";
import { Deadline, TooSlow } from "./deadline.js";
import type { Limits } from "./limits.js";
import type { Spool, SpoolFile } from "./spool.js";
import type { Blob, BlobStore } from "./store/blob-store.js";

/** What the store holds for a hash is not what was stored. */
export class Damaged extends Error {
  override readonly name = "Damaged";
}

/** The store did not answer a moment ago. */
export class Resting extends Error {
  override readonly name = "Resting";
}

/** At which a store takes bodies, at the least. */
const LEAST_BYTES_PER_SECOND = 2 ** 20;

/** What a key says: which content its hash has. */
interface Key {
  readonly sha256: string;
  readonly bytes: number;
}

/**
 * Bodies by the hash of a task, in a store that is not trusted to bring back what it was given.
 *
 *     blobs/<SHA-256>   a body
 *     keys/<hash>       "<SHA-256> <bytes>\n": the body of a task
 *
 * A body is written before the key that names it, and a key once, so a hash has a whole body or none at all times. What
 * comes back is hashed before anybody gets it.
 */
export class Cache {
  /** Hashes whose bodies came back as something else: the next who stores one replaces it. */
  private readonly damaged = new Set<string>();
  private restsUntil = 0;

  constructor(
    private readonly store: BlobStore,
    private readonly spool: Spool,
    private readonly limits: Limits,
  ) {}

  /** Whether the store answered when it was asked last. */
  get isAnswering(): boolean {
    return performance.now() >= this.restsUntil;
  }

  /**
   * The body of a hash, whole and checked; undefined if there is none.
   *
   * @throws {Damaged} If it is not what was stored. {TooSlow} If the store does not bring it in time. {Resting} If it
   *   did not answer a moment ago. Whatever else the store throws.
   */
  async get(hash: string, signal?: AbortSignal): Promise<SpoolFile | undefined> {
    const { maxBytes } = this.limits;
    return this.asking(signal, async (deadline) => {
      try {
        const key = await this.key(hash, deadline);
        if (key === undefined) return undefined;
        if (key.bytes > maxBytes) throw new RangeError(`its body has ${key.bytes} bytes, expected ${maxBytes} at most`);
        const blob = await this.open(`blobs/${key.sha256}`, deadline);
        if (blob === undefined) throw new Damaged("its body is gone");
        try {
          return await this.fetch(blob, key, deadline);
        } finally {
          drop(blob);
        }
      } catch (error) {
        if (error instanceof Damaged) this.damaged.add(hash);
        throw error;
      }
    });
  }

  /**
   * Stores a body under a hash, unless there is one that is whole, as far as is known.
   *
   * @throws {TooSlow} If the store does not take it in time. {Resting} If it did not answer a moment ago. Whatever else
   *   the store throws.
   */
  async put(hash: string, file: SpoolFile, signal?: AbortSignal): Promise<"stored" | "exists"> {
    const { store, limits } = this;
    return this.asking(signal, async (deadline) => {
      const [ask, { signal }] = [<T>(step: () => Promise<T>) => deadline.within(limits.waitMs, step), deadline];
      const found = await this.key(hash, deadline).catch((error: unknown) => {
        if (error instanceof Damaged) return "damaged";
        throw error;
      });
      const isDamaged = this.damaged.has(hash) || found === "damaged";
      if (!isDamaged && typeof found === "object") {
        const size = await ask(() => store.size(`blobs/${found.sha256}`, signal));
        if (size === found.bytes) return "exists";
      }
      const { sha256, bytes } = file;
      const blob = `blobs/${sha256}`;
      if (isDamaged || (await ask(() => store.size(blob, signal))) !== bytes) {
        const writeMs = limits.waitMs + (1000 * bytes) / LEAST_BYTES_PER_SECOND; // how far it is, nobody sees
        await deadline.within(writeMs, () => store.write(blob, file, false, signal));
      }
      const text = Buffer.from(`${sha256} ${bytes}\n`);
      const key = { bytes: text.length, open: () => Readable.from([text], { objectMode: false }) };
      const isNew = await ask(() => store.write(`keys/${hash}`, key, found === undefined, signal));
      this.damaged.delete(hash);
      return isNew ? "stored" : "exists";
    });
  }

  private async key(hash: string, deadline: Deadline): Promise<Key | undefined> {
    const blob = await this.open(`keys/${hash}`, deadline);
    if (blob === undefined) return undefined;
    let text = "";
    try {
      for await (const chunk of deadline.chunks(blob.body, this.limits.waitMs)) {
        text += Buffer.from(chunk).toString("latin1");
        if (text.length > 100) break;
      }
    } finally {
      drop(blob);
    }
    const [, sha256, bytes] = /^([0-9a-f]{64}) (\d{1,15})\n$/.exec(text) ?? [];
    if (sha256 === undefined) throw new Damaged("its key does not say which body it has");
    return { sha256, bytes: Number(bytes) };
  }

  private async open(name: string, deadline: Deadline): Promise<Blob | undefined> {
    const asked = this.store.read(name, deadline.signal);
    try {
      return await deadline.within(this.limits.waitMs, () => asked);
    } catch (error) {
      void asked.then(drop, () => undefined); // it may still come
      throw error;
    }
  }

  private async fetch({ bytes, body }: Blob, key: Key, deadline: Deadline): Promise<SpoolFile> {
    const { waitMs } = this.limits;
    if (bytes !== key.bytes) throw new Damaged(`its body has ${bytes} bytes, expected ${key.bytes}`);
    const file = await deadline.within(waitMs, () => this.spool.file());
    try {
      for await (const chunk of deadline.chunks(body, waitMs)) {
        if (file.bytes + chunk.length > key.bytes) throw new Damaged(`more than its ${key.bytes} bytes came`);
        await deadline.within(waitMs, () => file.append(chunk));
      }
      if (file.bytes < key.bytes) throw new Error(`${file.bytes} of its ${key.bytes} bytes came`);
      if (file.sha256 !== key.sha256) throw new Damaged(`its SHA-256 is ${file.sha256}, expected ${key.sha256}`);
      return file;
    } catch (error) {
      void file[Symbol.asyncDispose]().catch(() => undefined); // not waited for: the disk may be what is stuck
      throw error;
    }
  }

  /** Asks the store, unless it rests. One that takes too long gets a rest. */
  private async asking<T>(signal: AbortSignal | undefined, work: (deadline: Deadline) => Promise<T>): Promise<T> {
    if (!this.isAnswering) throw new Resting("the store did not answer in time, and is not asked for a while");
    using deadline = new Deadline(this.limits.storeMs, signal);
    try {
      return await work(deadline);
    } catch (cause) {
      const error: unknown = deadline.signal.aborted ? deadline.signal.reason : cause; // who was told to stop says so
      if (error instanceof TooSlow) this.restsUntil = performance.now() + this.limits.restMs;
      throw error;
    }
  }
}

/** Lets go of what nobody reads. */
function drop(blob: Blob | undefined): void {
  if (blob?.body instanceof Readable) blob.body.destroy();
}

import { constants } from "node:fs";
import { open, rm, writeFile, type FileHandle } from "node:fs/promises";
import { dirname } from "node:path";
import { DataError } from "../data-error.js";
import { Interrupted } from "../download/interrupted.js";
import { requireRoom } from "../download/space.js";
import { reasonOf } from "../file/byte-source.js";
import type { HashedFile, HashingThread } from "../file/hashing-thread.js";
import { makeFolder } from "../store/files.js";
import { takeLock } from "../store/lock.js";
import { sha256 } from "../store/manifest.js";
import type { ObjectRef, Store } from "../store/store.js";
import type { Connection } from "./connection.js";
import { LAYOUT } from "./place.js";
import { RemoteError } from "./remote-error.js";

/** Smaller objects are held in memory; larger ones lie in a file that outlives the process, and go on from there. */
const MEMORY_BYTES = 2 ** 20;
/** Reads of an object that came with other bytes, before it is taken for damaged in the store. */
const READS = 2;

/**
 * Gets an object into the local store. It gets its name when its bytes are there and have the digest that it is called
 * by; what was cut goes on with a ranged request, in another process, too.
 *
 * @param onBytes Told of bytes as they come; of a try that was dropped, less.
 * @throws {RemoteError} Naming the object and the endpoint.
 */
export async function fetchObject(
  connection: Connection,
  store: Store,
  ref: ObjectRef,
  onBytes?: (bytes: number) => void,
): Promise<void> {
  if (await store.intact(ref)) return void onBytes?.(ref.bytes);
  const path = LAYOUT.object(ref.sha256);
  const local = (cause: unknown): RemoteError =>
    new RemoteError(
      `Cannot store ${connection.nameOf(path)} in ${JSON.stringify(store.root)}: ${reasonOf(cause)}`,
      "local",
      { cause },
    );
  try {
    await makeFolder(store.root, `objects/${ref.sha256.slice(0, 2)}`);
    const part = `${store.objectPath(ref.sha256)}.part`;
    if (ref.bytes <= MEMORY_BYTES) return await fetchSmall(connection, store, path, ref, onBytes);
    await makeFolder(store.root, "work");
    await using _ = await takeLock(`${store.workPath(`fetch-${ref.sha256}`)}.lock`, { signal: connection.signal });
    if (await store.intact(ref)) return void onBytes?.(ref.bytes); // another process has fetched it meanwhile
    await fetchLarge(connection, path, part, ref, onBytes);
    await store.adopt(part, ref);
  } catch (error) {
    connection.signal.throwIfAborted();
    throw error instanceof RemoteError ? error : local(error);
  }
}

async function fetchSmall(
  connection: Connection,
  store: Store,
  path: string,
  ref: ObjectRef,
  onBytes?: (bytes: number) => void,
): Promise<void> {
  for (let reads = 1; ; reads++) {
    const bytes = await connection.read(path, ref.bytes).catch((error: unknown) => {
      if (error instanceof RemoteError && error.problem === "damaged" && reads < READS) return Buffer.alloc(0);
      throw error;
    });
    if (bytes === undefined) throw missing(connection, path);
    if (bytes.length === ref.bytes && sha256(bytes) === ref.sha256) {
      await requireRoom(store.root, bytes.length, connection.limits);
      const part = `${store.objectPath(ref.sha256)}.${process.pid}.part`;
      await writeFile(part, bytes); // not flushed: a machine that stops leaves a file of another size or time
      await store.adopt(part, ref);
      return void onBytes?.(ref.bytes);
    }
    if (reads === READS) throw damaged(connection, path, `${bytes.length} bytes with another digest came`, reads);
  }
}

async function fetchLarge(
  connection: Connection,
  path: string,
  part: string,
  ref: ObjectRef,
  onBytes?: (bytes: number) => void,
): Promise<void> {
  const handle = await open(part, constants.O_RDWR | constants.O_CREAT);
  try {
    await using into = await Part.open(connection.thread, handle, ref.bytes, connection.nameOf(path));
    onBytes?.(into.size);
    await requireRoom(dirname(part), ref.bytes - into.size, connection.limits);
    let reads = 0;
    for (;;) {
      await receive(connection, path, ref, into, onBytes);
      if ((await into.digest()) === ref.sha256) return;
      // What an earlier process left may have been damaged since: that is no read.
      if (!into.resumed && ++reads === READS)
        throw damaged(connection, path, `${ref.bytes} bytes with another digest came`, reads);
      onBytes?.(-into.size);
      await into.restart();
    }
  } catch (error) {
    if (error instanceof RemoteError && ["damaged", "missing"].includes(error.problem))
      await rm(part, { force: true }).catch(() => undefined);
    throw error;
  } finally {
    await handle.close();
  }
}

/** Receives what is not there yet, by as many requests as it takes. */
async function receive(
  connection: Connection,
  path: string,
  { bytes }: ObjectRef,
  into: Part,
  onBytes?: (bytes: number) => void,
): Promise<void> {
  const { GetObjectCommand } = await import("@aws-sdk/client-s3");
  let otherAnswers = 0;
  const step = async ({ client, at, signal, moved }: Parameters<Parameters<Connection["attempt"]>[3]>[0]) => {
    const from = into.size;
    if (from === bytes) return true;
    const range = from > 0 ? { Range: `bytes=${from}-${bytes - 1}` } : {};
    const answer = await client.send(new GetObjectCommand({ ...at, ...range }), { abortSignal: signal });
    const body = (answer.Body ?? []) as AsyncIterable<Uint8Array> & { destroy?: () => void };
    const other = otherThan(answer, from, bytes);
    if (other !== undefined) {
      body.destroy?.();
      onBytes?.(-into.size);
      await into.restart();
      if (++otherAnswers > READS) throw new DataError(other);
      throw new Interrupted(other);
    }
    moved(0);
    const stop = (): void => body.destroy?.();
    signal.addEventListener("abort", stop, { once: true });
    try {
      for await (const chunk of body) {
        signal.throwIfAborted(); // another request may be under way
        if (into.size + chunk.length > bytes) throw new DataError(`more than ${bytes} bytes come`);
        const full = into.append(chunk);
        onBytes?.(chunk.length);
        moved(chunk.length);
        if (full) await full;
      }
    } finally {
      signal.removeEventListener("abort", stop);
      await into.flush();
    }
    if (into.size < bytes) throw new Interrupted(`the connection ended after ${into.size} of ${bytes} bytes`);
    return true;
  };
  const found = await connection.attempt("read", path, true, step, { furthest: () => into.size });
  if (found === undefined) throw missing(connection, path);
}

/** What is wrong with what a server offers, if anything. */
function otherThan(
  answer: { readonly ContentRange?: string | undefined; readonly ContentLength?: number | undefined },
  from: number,
  bytes: number,
): string | undefined {
  const { ContentRange, ContentLength } = answer;
  if (from > 0 && ContentRange !== `bytes ${from}-${bytes - 1}/${bytes}`)
    return `asked for bytes ${from} to ${bytes - 1} of ${bytes}, the server sends ${ContentRange ?? "all"}`;
  if (ContentLength !== undefined && ContentLength !== bytes - from)
    return `the server offers ${ContentLength} bytes, expected ${bytes - from}`;
  return undefined;
}

/** What has come of an object, in a file that a thread writes and hashes. */
class Part implements AsyncDisposable {
  private constructor(
    private readonly handle: FileHandle,
    private readonly file: HashedFile,
    private readonly name: string,
    /** Whether some of it came in an earlier process. */
    public resumed: boolean,
  ) {}

  /** @param handle Borrowed. */
  static async open(thread: HashingThread, handle: FileHandle, mostBytes: number, name: string): Promise<Part> {
    if ((await handle.stat()).size > mostBytes) await handle.truncate(0);
    const file = thread.file(handle.fd);
    const part = new Part(handle, file, name, false);
    await part.local(file.resume());
    part.resumed = file.size > 0;
    return part;
  }

  get size(): number {
    return this.file.size;
  }

  /** @returns Nothing if there is room for more. */
  append(bytes: Uint8Array): Promise<void> | undefined {
    const waits = this.file.append(bytes);
    return waits && this.local(waits);
  }

  async flush(): Promise<void> {
    await this.local(this.file.flush());
  }

  async restart(): Promise<void> {
    await this.file.restart();
    await this.handle.truncate(0);
    this.resumed = false;
  }

  async digest(): Promise<string> {
    return await this.local(this.file.digest());
  }

  /** What keeps bytes from being written has nothing to do with where they come from. */
  private local<T>(working: Promise<T>): Promise<T> {
    return working.catch((cause: unknown) => {
      throw new RemoteError(`Cannot store ${this.name}: ${reasonOf(cause)}`, "local", { cause });
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.file[Symbol.asyncDispose]();
  }
}

const missing = (connection: Connection, path: string): RemoteError =>
  new RemoteError(`Cannot read ${connection.nameOf(path)}: there is no such object`, "missing");

const damaged = (connection: Connection, path: string, what: string, reads: number): RemoteError =>
  new RemoteError(`Cannot use ${connection.nameOf(path)}: ${what}; read ${reads} times`, "damaged");

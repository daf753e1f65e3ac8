/**
 * The format before PyTorch 1.6, which `torch.save(..., _use_new_zipfile_serialization=False)` still writes:
 *
 *     pickle   the magic number
 *     pickle   the version, 1001
 *     pickle   facts about the machine, a dict
 *     pickle   what was saved; in place of a storage, ("storage", class, key, device, elements, view)
 *     pickle   the keys of the storages, a list
 *     per key  elements, int64, then their bytes; little-endian on all machines
 *
 * `view` is None, or in the oldest files, for a part of that storage: (key of its own, first element, elements).
 *
 * Source: PyTorch 2.13, `torch/serialization.py` `_legacy_save` and `_legacy_load`, `torch/csrc/serialization.cpp`.
 */
import type { ByteSource } from "../file/byte-source.js";
import { quote } from "../format-error.js";
import { PickleStream, PLAIN_VALUES } from "../pickle/stream.js";
import { torchBytes, type ElementType } from "./element-type.js";
import { MAX_PICKLE_BYTES } from "./archive.js";
import { buildTorchObject, findTorchGlobal } from "./globals.js";
import { storageId } from "./storage-id.js";
import { TorchStorage, type StorageRecord } from "./storage.js";

/** LONG1 of 0x1950a86a20f9469cfc6c and STOP: the first pickle, after its protocol. */
const MAGIC = Buffer.from("8a0a6cfc9c46f9206aa850192e", "hex");

const VERSION = 1001;

/** How a file begins that is no archive. */
export type TorchStart =
  /** With the magic number, in so many bytes. */
  | { readonly kind: "legacy"; readonly bytes: number }
  /** As another pickle. */
  | { readonly kind: "pickle" }
  /** As a tar archive, the format before this one. */
  | { readonly kind: "tar" };

/**
 * Whether it begins as PyTorch's files did before 1.6, or nearly so.
 *
 * @returns undefined if not.
 */
export async function torchStart(source: ByteSource): Promise<TorchStart | undefined> {
  const start = Buffer.from(await source.read(0, Math.min(source.size, 262)));
  const [proto, protocol = 0, next] = start;
  const isPickle = proto === 0x80 && protocol >= 2 && protocol <= 5;
  const at = next === 0x95 ? 11 : 2; // protocols 4 and 5 put it into a frame
  const bytes = at + MAGIC.length;
  if (isPickle && MAGIC.equals(start.subarray(at, bytes))) return { kind: "legacy", bytes };
  if (start[8] === 0x7b) return undefined; // safetensors: a length, then JSON
  if (start.toString("latin1", 257) === "ustar") return { kind: "tar" };
  return isPickle ? { kind: "pickle" } : undefined;
}

/** What to say of a tar archive. Only Python can read it, and only by running what it says. */
export function tarProblem(path: string): string {
  const [from, to] = [path, `${path}.new`].map((name) => JSON.stringify(name));
  const convert = `torch.save(torch.load(${from}, weights_only=False), ${to})`;
  return `it is a tar archive, as the first PyTorch (0.1) wrote; if you trust it, convert it in Python with ${convert}`;
}

/**
 * What a file of the format before 1.6 holds. Of the storages only the eight bytes before each are read.
 *
 * What lies behind the last storage is let be, as PyTorch does: a file may hold one saved value after another.
 *
 * @param source Borrowed. The storages read from it.
 * @param offset Of the version.
 * @returns Not yet checked to be a tree.
 * @throws {FormatError} If it is damaged, or uses anything that is not allowed.
 */
export async function readLegacyTorch(source: ByteSource, offset: number): Promise<unknown> {
  const pickles = new PickleStream(source, offset, MAX_PICKLE_BYTES);
  const version = await pickles.next(PLAIN_VALUES);
  if (version !== VERSION) {
    const found = typeof version === "number" ? String(version) : "no number";
    throw source.error(`its version is ${found}, expected ${VERSION}`);
  }
  const machine = await pickles.next(PLAIN_VALUES);
  if (!(machine instanceof Map)) throw source.error("it has no dict of facts about the machine that wrote it");
  const storages = new LegacyStorages(source);
  const value = await pickles.next({
    findGlobal: findTorchGlobal,
    build: buildTorchObject,
    persistentLoad: (id) => storages.load(id),
  });
  await storages.locate(await pickles.next(PLAIN_VALUES), pickles.offset);
  return value;
}

/** The storages that the pickle names: first by name, then, when it has been run, by place. */
class LegacyStorages {
  private readonly records = new Map<string, LegacyRecord>();
  private readonly storages = new Map<string, TorchStorage>(); // by key and dtype
  private readonly views = new Map<string, TorchStorage>();

  constructor(private readonly source: ByteSource) {}

  /** The storage of a persistent id. The same id is the same storage. */
  load(id: unknown): TorchStorage {
    const { key, dtype, elements, rest } = storageId(id, (problem) => this.source.error(problem));
    // Before anything is computed with it: past 2^53 that would be wrong.
    if (!(elements * torchBytes(dtype) <= this.source.size))
      throw this.source.error(
        `storage ${quote(key)} is of ${elements} elements of ${dtype}, but the file holds ${this.source.size} bytes`,
      );
    const record = this.records.get(key) ?? new LegacyRecord(this.source, key, dtype, elements);
    // PyTorch, too, has one dtype per storage here. Without elements it is of no matter.
    if (record.elements !== elements || (record.dtype !== dtype && elements > 0))
      throw this.source.error(
        `storage ${quote(key)} is of ${elements} elements of ${dtype}, and elsewhere of ${record.elements} of ${record.dtype}`,
      );
    this.records.set(key, record);
    const [view = null] = rest;
    if (view !== null) return this.view(view, record, dtype);
    const name = `${dtype} ${key}`;
    const storage = this.storages.get(name) ?? new TorchStorage(this.source, record, key, dtype);
    this.storages.set(name, storage);
    return storage;
  }

  /** A part of a record, `(key, first element, elements)`. */
  private view(view: unknown, record: LegacyRecord, dtype: ElementType): TorchStorage {
    const [key, first, elements] = (Array.isArray(view) ? view : []) as unknown[];
    if (typeof key !== "string" || !isCount(first) || !isCount(elements))
      throw this.source.error(`storage ${quote(record.key)} has a view that is none`);
    if (first + elements > record.elements)
      throw this.source.error(
        `storage ${quote(key)} is of elements ${first} to ${first + elements} of storage ${quote(record.key)}, which has ${record.elements}`,
      );
    const size = torchBytes(dtype);
    const part = { start: first * size, sizeBytes: elements * size };
    const storage = this.views.get(key) ?? new TorchStorage(this.source, record, key, dtype, part);
    const same = storage.record === record && storage.start === part.start && storage.sizeBytes === part.sizeBytes;
    if (!same || storage.dtype !== dtype)
      throw this.source.error(`storage ${quote(key)} is a view of one place, and elsewhere of another`);
    this.views.set(key, storage);
    return storage;
  }

  /**
   * Finds where each storage is.
   *
   * @param keys In the order of the file.
   * @param offset Of the first one's number of elements.
   */
  async locate(keys: unknown, offset: number): Promise<void> {
    if (!Array.isArray(keys)) throw this.source.error("it has no list of its storages");
    for (const key of this.views.keys())
      if (this.records.has(key)) throw this.source.error(`storage ${quote(key)} is a view, and elsewhere none`);
    const missing = new Set(this.records.keys());
    for (const key of keys as unknown[]) {
      if (typeof key !== "string") throw this.source.error("its list of storages has a key that is no string");
      const record = this.records.get(key);
      if (!record) throw this.source.error(`it has data of storage ${quote(key)}, which nothing uses`);
      if (!missing.delete(key)) throw this.source.error(`it has data of storage ${quote(key)} twice`);
      const what = `storage ${quote(key)}`;
      const count = new DataView((await this.source.read(offset, 8, what)).buffer).getBigInt64(0, true);
      if (count !== BigInt(record.elements))
        throw this.source.error(`${what} has data of ${count} elements, expected ${record.elements}`);
      record.offset = offset + 8;
      offset = record.offset + record.sizeBytes;
      if (offset > this.source.size)
        throw this.source.error(`${what} ends at byte ${offset}, but the file holds ${this.source.size}`);
    }
    for (const key of missing) throw this.source.error(`it lacks the data of storage ${quote(key)}`);
  }
}

/** The bytes of one storage in the file. */
class LegacyRecord implements StorageRecord {
  readonly sizeBytes: number;
  /** In the file. Set before anything reads it. */
  offset = NaN;

  constructor(
    private readonly source: ByteSource,
    readonly key: string,
    readonly dtype: ElementType,
    readonly elements: number,
  ) {
    this.sizeBytes = elements * torchBytes(dtype);
  }

  read(offset: number, length: number, what: string): Promise<Uint8Array<ArrayBuffer>> {
    return this.source.read(this.offset + offset, length, what);
  }
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

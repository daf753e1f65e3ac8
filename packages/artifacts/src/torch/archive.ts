import type { ByteSource } from "../file/byte-source.js";
import { quote } from "../format-error.js";
import { unpickle } from "../pickle/machine.js";
import { checkCrc, entryDataOffset, readZipDirectory, readZipEntry, type ZipEntry } from "../zip/read.js";
import { torchBytes } from "./element-type.js";
import { buildTorchObject, findTorchGlobal } from "./globals.js";
import { storageId } from "./storage-id.js";
import { TorchStorage, type StorageRecord } from "./storage.js";

/** PyTorch writes some 100 bytes per tensor. */
export const MAX_PICKLE_BYTES = 64 * 2 ** 20;

/** The newest version of the archive that PyTorch 2.13 reads. */
const MAX_VERSION = 10;

/** No storage that is deflated is inflated past this. PyTorch deflates none; other tools that repack archives do. */
const MAX_INFLATED_BYTES = 2 ** 30;

/**
 * What the archive of PyTorch 1.6 and newer holds: a zip file with the pickle `<root>/data.pkl` and a record
 * `<root>/data/<key>` per storage.
 *
 * @param source Borrowed. The storages read from it.
 * @returns Not yet checked to be a tree.
 * @throws {FormatError} If it is no such archive, or uses anything that is not allowed.
 */
export async function readTorchArchive(source: ByteSource): Promise<unknown> {
  const entries = await readZipDirectory(source);
  const pickles = entries.filter(({ name }) => /^[^/]+\/data\.pkl$/.test(name));
  const [pickle] = pickles;
  if (!pickle || pickles.length > 1)
    throw source.error(`it is no PyTorch file: it has ${pickles.length} records data.pkl, expected one`);
  const root = pickle.name.slice(0, -"data.pkl".length);
  const byName = new Map(entries.map((entry) => [entry.name, entry]));
  const small = async (name: string): Promise<string | undefined> => {
    const entry = byName.get(root + name);
    return (
      entry &&
      Buffer.from(await readZipEntry(source, entry, 64))
        .toString("latin1")
        .trim()
    );
  };
  const version = await small("version");
  if (version !== undefined && !(/^\d+$/.test(version) && Number(version) <= MAX_VERSION))
    throw source.error(`its version is ${quote(version)}, expected at most ${MAX_VERSION}`);
  const byteOrder = (await small("byteorder")) ?? "little";
  if (byteOrder !== "little" && byteOrder !== "big")
    throw source.error(`its byte order is ${quote(byteOrder)}, expected "little" or "big"`);

  const records = new Map<string, ZipRecord>(); // by key
  const storages = new Map<string, TorchStorage>(); // by dtype and key
  const fail = (problem: string): Error => source.error(problem);
  const persistentLoad = (id: unknown): TorchStorage => {
    const { key, dtype, elements } = storageId(id, fail);
    const entry = byName.get(`${root}data/${key}`);
    if (!entry) throw fail(`it lacks the record of storage ${quote(key)}`);
    if (entry.sizeBytes < elements * torchBytes(dtype))
      throw fail(`storage ${quote(key)} holds ${entry.sizeBytes} bytes, too few for ${elements} elements of ${dtype}`);
    const record = records.get(key) ?? new ZipRecord(source, entry);
    records.set(key, record);
    const name = `${dtype} ${key}`;
    const storage =
      storages.get(name) ?? new TorchStorage(source, record, key, dtype, { bigEndian: byteOrder === "big" });
    storages.set(name, storage);
    return storage;
  };
  return unpickle(await readZipEntry(source, pickle, MAX_PICKLE_BYTES), {
    findGlobal: findTorchGlobal,
    build: buildTorchObject,
    fail,
    persistentLoad,
  });
}

/** An entry of the archive. It is checked against its CRC when all of it is read at once. */
class ZipRecord implements StorageRecord {
  readonly sizeBytes: number;
  private dataOffset: number | undefined;

  constructor(
    private readonly source: ByteSource,
    private readonly entry: ZipEntry,
  ) {
    this.sizeBytes = entry.sizeBytes;
  }

  async read(offset: number, length: number, what: string): Promise<Uint8Array<ArrayBuffer>> {
    if (this.entry.deflated)
      return (await readZipEntry(this.source, this.entry, MAX_INFLATED_BYTES)).slice(offset, offset + length);
    this.dataOffset ??= await entryDataOffset(this.source, this.entry);
    const bytes = await this.source.read(this.dataOffset + offset, length, what);
    if (length === this.sizeBytes) checkCrc(bytes, this.entry, this.source);
    return bytes;
  }
}

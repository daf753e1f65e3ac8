import type { ByteSource } from "../file/byte-source.js";
import { dtypeBytes, swapBytes, type DType } from "../tensor/dtype.js";
import { quote } from "../format-error.js";
import { checkCrc, entryDataOffset, readZipEntry, type ZipEntry } from "../zip/read.js";

/** No storage that is deflated is inflated past this. PyTorch deflates none; other tools that repack archives do. */
const MAX_INFLATED_BYTES = 2 ** 30;

/**
 * The memory of one or more tensors: a record of the file, read when a tensor asks for it. Tensors that shared memory when
 * they were saved have the same storage.
 */
export class TorchStorage {
  readonly kind = "storage";
  private dataOffset: number | undefined;

  constructor(
    private readonly source: ByteSource,
    private readonly entry: ZipEntry,
    /** The name of its record. */
    readonly key: string,
    /** `uint8` for one without a type. */
    readonly dtype: DType,
    private readonly bigEndian: boolean,
  ) {}

  /** Its record. Two storages of one record are one memory, seen as two dtypes. */
  get record(): object {
    return this.entry;
  }

  /** Bytes it holds. */
  get sizeBytes(): number {
    return this.entry.sizeBytes;
  }

  /**
   * Bytes [offset, offset + length), little-endian.
   *
   * They are checked against their CRC when all are read at once.
   *
   * @param dtype Of the elements there: what is swapped in a big-endian file.
   */
  async read(offset: number, length: number, dtype: DType = this.dtype): Promise<Uint8Array<ArrayBuffer>> {
    const what = `storage ${quote(this.key)}`;
    if (!(offset >= 0 && length >= 0 && offset + length <= this.sizeBytes))
      throw this.error(`${what} has ${this.sizeBytes} bytes, but byte ${offset + length} is asked for`);
    let bytes: Uint8Array<ArrayBuffer>;
    if (this.entry.deflated)
      bytes = (await readZipEntry(this.source, this.entry, MAX_INFLATED_BYTES)).slice(offset, offset + length);
    else {
      this.dataOffset ??= await entryDataOffset(this.source, this.entry);
      bytes = await this.source.read(this.dataOffset + offset, length, what);
      if (length === this.sizeBytes) checkCrc(bytes, this.entry, this.source);
    }
    if (this.bigEndian) swapBytes(bytes, dtypeBytes(dtype));
    return bytes;
  }

  /** The error to throw about this file. */
  error(problem: string): Error {
    return this.source.error(problem);
  }
}

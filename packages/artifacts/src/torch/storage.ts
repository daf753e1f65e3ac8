import type { ByteSource } from "../file/byte-source.js";
import { quote } from "../format-error.js";
import { swapBytes } from "../tensor/dtype.js";
import { torchBytes, type ElementType } from "./element-type.js";

/** A piece of the file that holds the memory of tensors. Two storages of one record are one memory. */
export interface StorageRecord {
  readonly sizeBytes: number;
  /**
   * Bytes [offset, offset + length), which are inside it, as the file has them.
   *
   * @param what What is read, for the message: `storage "0"`.
   */
  read(offset: number, length: number, what: string): Promise<Uint8Array<ArrayBuffer>>;
}

export interface StorageOptions {
  /** Whether the file's elements are big-endian. */
  readonly bigEndian?: boolean;
  /** The part of the record that it is, in bytes: `[start, start + sizeBytes)`. Default: all. */
  readonly start?: number;
  readonly sizeBytes?: number;
}

/**
 * The memory of one or more tensors: a record of the file, read when a tensor asks for it. Tensors that shared memory
 * when they were saved have storages of the same record, and nearly always the same storage.
 */
export class TorchStorage {
  readonly kind = "storage";
  /** Where it begins in its record, in bytes. Not 0 only for views, in the oldest files. */
  readonly start: number;
  /** Bytes it holds. */
  readonly sizeBytes: number;
  private readonly bigEndian: boolean;

  constructor(
    private readonly source: ByteSource,
    /** Its record. Two storages of one record are one memory, seen as two dtypes or in two parts. */
    readonly record: StorageRecord,
    /** The name that the file gives it. */
    readonly key: string,
    /** `uint8` for one without a type. */
    readonly dtype: ElementType,
    { bigEndian = false, start = 0, sizeBytes = record.sizeBytes - start }: StorageOptions = {},
  ) {
    this.bigEndian = bigEndian;
    this.start = start;
    this.sizeBytes = sizeBytes;
  }

  /**
   * Bytes [offset, offset + length), little-endian.
   *
   * A file with checksums is checked against them when all of a record is read at once.
   *
   * @param dtype Of the elements there: what is swapped in a big-endian file.
   */
  async read(offset: number, length: number, dtype: ElementType = this.dtype): Promise<Uint8Array<ArrayBuffer>> {
    const what = `storage ${quote(this.key)}`;
    if (!(offset >= 0 && length >= 0 && offset + length <= this.sizeBytes))
      throw this.error(`${what} has ${this.sizeBytes} bytes, but byte ${offset + length} is asked for`);
    const bytes = await this.record.read(this.start + offset, length, what);
    if (this.bigEndian) swapBytes(bytes, torchBytes(dtype));
    return bytes;
  }

  /** All of its record. */
  whole(): TorchStorage {
    return new TorchStorage(this.source, this.record, this.key, this.dtype, { bigEndian: this.bigEndian });
  }

  /** The error to throw about this file. */
  error(problem: string): Error {
    return this.source.error(problem);
  }
}

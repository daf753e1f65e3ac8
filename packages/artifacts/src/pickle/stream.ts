import type { ByteSource } from "../file/byte-source.js";
import { unpickleStart, type UnpickleOptions } from "./machine.js";

/** Most pickles end in this many bytes. */
const FIRST_BYTES = 2 ** 16;

/** A pickle that does not is tried again with so many times as many. */
const GROWTH = 16;

/** For pickles of nothing but plain values. */
export const PLAIN_VALUES = {
  findGlobal: () => undefined,
  build: () => false,
  persistentLoad: () => undefined,
} as const satisfies Omit<UnpickleOptions, "fail">;

/**
 * Pickles that lie in a file one after another. Nothing says how long they are, so each is run on more and more of the
 * file until it ends; what is behind it is not read, except for the rest of the last piece.
 */
export class PickleStream {
  /**
   * @param source Borrowed.
   * @param offset Of the next pickle.
   * @param maxBytes Of one pickle.
   */
  constructor(
    private readonly source: ByteSource,
    public offset: number,
    private readonly maxBytes: number,
  ) {}

  /**
   * Runs the next pickle.
   *
   * @param options Its functions may be called again, from the start and with the same arguments.
   * @throws {FormatError} If the file or `maxBytes` ends before it does, or if it is damaged.
   */
  async next(options: Omit<UnpickleOptions, "fail">): Promise<unknown> {
    const most = Math.min(this.maxBytes, this.source.size - this.offset);
    for (let size = FIRST_BYTES; ; size *= GROWTH) {
      const bytes = await this.source.read(this.offset, Math.min(size, most), "its pickle");
      let endless = false;
      const fail = (problem: string, atEnd = false): Error => {
        endless = atEnd;
        return this.source.error(problem);
      };
      try {
        const { value, length } = unpickleStart(bytes, { ...options, fail });
        this.offset += length;
        return value;
      } catch (error) {
        if (!endless || bytes.length === this.source.size - this.offset) throw error;
        if (bytes.length === this.maxBytes)
          throw this.source.error(`its pickle at byte ${this.offset} has more than ${this.maxBytes} bytes`);
      }
    }
  }
}

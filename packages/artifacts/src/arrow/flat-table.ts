import type { ByteSource } from "../file/byte-source.js";

/**
 * A table of a FlatBuffers message, every read of it checked against the message's end. Fields are numbered as in
 * Arrow's schema files, from 0; a field that is absent has its default.
 *
 * Ours because the generated accessors check nothing: they make four thousand million nodes of one damaged length,
 * until the memory is gone.
 */
export class FlatTable {
  private constructor(
    private readonly view: DataView,
    private readonly position: number,
    private readonly source: ByteSource,
  ) {}

  /**
   * The root table of a message.
   *
   * @param bytes Borrowed: must not change while the table is used.
   * @param source The file they are from, for messages.
   */
  static root(bytes: Uint8Array, source: ByteSource): FlatTable {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const start = new FlatTable(view, 0, source);
    return new FlatTable(view, start.u32(0), source);
  }

  /** A number of one byte: an enumeration, a flag, or the kind of a union. */
  byte(field: number): number {
    const at = this.field(field);
    return at === undefined ? 0 : this.u8(at);
  }

  short(field: number): number {
    const at = this.field(field);
    return at === undefined ? 0 : this.i16(at);
  }

  int(field: number): number {
    const at = this.field(field);
    return at === undefined ? 0 : this.i32(at);
  }

  /** @throws {FormatError} If it is negative, or larger than a double can count. */
  long(field: number): number {
    const at = this.field(field);
    return at === undefined ? 0 : this.size(at);
  }

  table(field: number): FlatTable | undefined {
    const at = this.field(field);
    return at === undefined ? undefined : new FlatTable(this.view, this.target(at), this.source);
  }

  tables(field: number): FlatTable[] {
    return this.vector(field, 4, (at) => new FlatTable(this.view, this.target(at), this.source));
  }

  text(field: number): string {
    const at = this.field(field);
    if (at === undefined) return "";
    const start = this.target(at);
    const length = this.u32(start);
    this.check(start + 4, length);
    const bytes = new Uint8Array(this.view.buffer, this.view.byteOffset + start + 4, length);
    return new TextDecoder().decode(bytes);
  }

  /**
   * A vector of structs of `words` whole numbers of 8 bytes each; of a number of 4 bytes, the upper half is padding.
   */
  structs(field: number, words: readonly ("long" | "int")[]): number[][] {
    return this.vector(field, words.length * 8, (at) =>
      words.map((word, i) => (word === "long" ? this.size(at + i * 8) : this.i32(at + i * 8))),
    );
  }

  /** Where a field's value is. The table starts with the distance back to the list of its fields' places. */
  private field(index: number): number | undefined {
    const fields = this.position - this.i32(this.position);
    const entry = 4 + 2 * index;
    if (entry + 2 > this.u16(fields)) return undefined;
    const offset = this.u16(fields + entry);
    return offset === 0 ? undefined : this.position + offset;
  }

  private vector<T>(field: number, bytesEach: number, read: (at: number) => T): T[] {
    const at = this.field(field);
    if (at === undefined) return [];
    const start = this.target(at);
    const length = this.u32(start);
    this.check(start + 4, length * bytesEach); // before anything is made of it
    return Array.from({ length }, (_, i) => read(start + 4 + i * bytesEach));
  }

  private target(at: number): number {
    return at + this.u32(at);
  }

  private size(at: number): number {
    const value = this.check(at, 8).getBigInt64(at, true);
    if (value < 0 || value > Number.MAX_SAFE_INTEGER) throw this.source.error(`its metadata holds the size ${value}`);
    return Number(value);
  }

  private u8(at: number): number {
    return this.check(at, 1).getUint8(at);
  }

  private i16(at: number): number {
    return this.check(at, 2).getInt16(at, true);
  }

  private u16(at: number): number {
    return this.check(at, 2).getUint16(at, true);
  }

  private i32(at: number): number {
    return this.check(at, 4).getInt32(at, true);
  }

  private u32(at: number): number {
    return this.check(at, 4).getUint32(at, true);
  }

  private check(at: number, length: number): DataView {
    if (at < 0 || at + length > this.view.byteLength)
      throw this.source.error(`its metadata points at byte ${at + length} of ${this.view.byteLength}`);
    return this.view;
  }
}

import type { ByteSource } from "../file/byte-source.js";
import { quote } from "../format-error.js";
import type { Cell, Column } from "./columns.js";
import { FlatTable } from "./flat-table.js";

/** `Message.header` is a `RecordBatch`. */
const RECORD_BATCH = 3;

/** A record batch in memory, checked: every cell that is asked for is there. */
export class Batch {
  constructor(
    readonly rows: number,
    private readonly columns: readonly ((row: number) => Cell)[],
  ) {}

  /** @returns A copy: yours. */
  cell(row: number, column: number): Cell {
    return this.columns[column]!(row);
  }
}

/**
 * Reads one record batch of known columns.
 *
 * @param bytes Its message and its body, at the start of a buffer. Owned by the batch from now on.
 * @param metadataBytes How many of them the message takes.
 * @param what For messages: `record batch 3`.
 * @throws {FormatError} If it is not such a batch, or a column does not fit into it.
 */
export function parseBatch(
  bytes: Uint8Array<ArrayBuffer>,
  metadataBytes: number,
  columns: readonly Column[],
  source: ByteSource,
  what: string,
): Batch {
  const start = new DataView(bytes.buffer).getInt32(0, true) === -1 ? 8 : 4; // before 0.15, there was no marker
  const message = FlatTable.root(bytes.subarray(start, metadataBytes), source);
  const header = message.byte(1) === RECORD_BATCH ? message.table(2) : undefined;
  if (!header) throw source.error(`${what} is none: its message is of kind ${message.byte(1)}`);
  if (header.table(3)) throw source.error(`${what} is compressed, which is not supported`);
  const body = new Body(bytes, metadataBytes, header, source, what);
  const rows = header.long(0);
  const readers = columns.map((column) => readerOf(column, rows, body));
  return new Batch(rows, readers);
}

/** Hands out a batch's nodes and buffers in order. */
class Body {
  private readonly nodes: number[][];
  private readonly regions: number[][];

  constructor(
    private readonly bytes: Uint8Array<ArrayBuffer>,
    private readonly start: number,
    header: FlatTable,
    private readonly source: ByteSource,
    private readonly what: string,
  ) {
    this.nodes = header.structs(1, ["long", "long"]).reverse();
    this.regions = header.structs(2, ["long", "long"]).reverse();
  }

  error(column: Column, problem: string): Error {
    return this.source.error(`column ${quote(column.name)} of ${this.what} ${problem}`);
  }

  /** How many nulls the next node has, which must have this many rows. */
  node(column: Column, rows: number): number {
    const [length = 0, nulls = 0] = this.nodes.pop() ?? [];
    if (length !== rows) throw this.error(column, `has ${length} rows, expected ${rows}`);
    return nulls;
  }

  /** The next buffer, which must hold at least this many bytes. */
  buffer(column: Column, atLeast: number): { at: number; length: number } {
    const [offset = 0, length = 0] = this.regions.pop() ?? [];
    const at = this.start + offset;
    if (length < atLeast) throw this.error(column, `takes ${atLeast} bytes, but its buffer holds ${length}`);
    if (at + length > this.bytes.length)
      throw this.error(column, `ends at byte ${offset + length} of a body of ${this.bytes.length - this.start}`);
    if (at % 8 !== 0) throw this.error(column, `starts at byte ${offset}, expected a multiple of 8`);
    return { at, length };
  }

  /** Which rows are there. */
  validity(column: Column, rows: number): (row: number) => boolean {
    const nulls = this.node(column, rows);
    const { at } = this.buffer(column, nulls === 0 ? 0 : Math.ceil(rows / 8));
    if (nulls === 0) return () => true;
    if (!column.nullable) throw this.error(column, `has ${nulls} nulls, expected none`);
    return (row) => ((this.bytes[at + (row >> 3)]! >> (row & 7)) & 1) === 1;
  }

  get buffers(): ArrayBuffer {
    return this.bytes.buffer;
  }
}

function readerOf(column: Column, rows: number, body: Body): (row: number) => Cell {
  const there = body.validity(column, rows);
  const { type } = column;
  if (type === "int32") {
    const { at } = body.buffer(column, rows * 4);
    const values = new Int32Array(body.buffers, at, rows);
    return (row) => (there(row) ? values[row]! : null);
  }
  if (typeof type === "object") {
    const size = type.float32;
    const child = { ...column, nullable: false };
    body.validity(child, rows * size);
    const { at } = body.buffer(child, rows * size * 4);
    const values = new Float32Array(body.buffers, at, rows * size);
    return (row) => (there(row) ? values.slice(row * size, (row + 1) * size) : null);
  }
  const offsets = new Int32Array(body.buffers, body.buffer(column, (rows + 1) * 4).at, rows + 1);
  const { at, length } = body.buffer(column, 0);
  for (let row = 0; row < rows; row++)
    if (!(offsets[row]! >= 0 && offsets[row]! <= offsets[row + 1]! && offsets[row + 1]! <= length))
      throw body.error(column, `has row ${row} from byte ${offsets[row]} to ${offsets[row + 1]} of ${length}`);
  const bytesOf = (row: number): Uint8Array =>
    new Uint8Array(body.buffers.slice(at + offsets[row]!, at + offsets[row + 1]!));
  if (type === "binary") return (row) => (there(row) ? bytesOf(row) : null);
  return (row) => (there(row) ? textOf(bytesOf(row), column, row, body) : null);
}

function textOf(bytes: Uint8Array, column: Column, row: number, body: Body): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw body.error(column, `is no UTF-8 in row ${row}`);
  }
}

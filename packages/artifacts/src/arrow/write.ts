import type * as apacheArrow from "apache-arrow";
import type { Data, RecordBatchFileWriter, Schema } from "apache-arrow";
import { AtomicFile } from "../file/atomic-file.js";
import type { Cell, Column } from "./columns.js";

type Arrow = typeof apacheArrow;

/**
 * Writes an Arrow IPC file of given columns, row by row. Equal rows give equal bytes. The file appears under its name
 * when `finish` is reached; disposing of an unfinished writer leaves nothing behind.
 */
export class ArrowWriter implements AsyncDisposable {
  private rows: (readonly Cell[])[] = [];

  private constructor(
    private readonly arrow: Arrow,
    private readonly file: AtomicFile,
    private readonly columns: readonly Column[],
    private readonly schema: Schema,
    private readonly writer: RecordBatchFileWriter,
    private readonly chunks: Uint8Array[],
  ) {}

  /** @param metadata Goes into the schema. */
  static async create(
    path: string,
    columns: readonly Column[],
    metadata: Readonly<Record<string, string>> = {},
  ): Promise<ArrowWriter> {
    const arrow = await import("apache-arrow"); // a tenth of a second that readers need not wait
    const fields = columns.map(
      (column) => new arrow.Field(column.name, typeOf(arrow, column), column.nullable ?? false),
    );
    const schema = new arrow.Schema(fields, new Map(Object.entries(metadata)));
    const chunks: Uint8Array[] = [];
    /** Its own sink cannot be emptied between two batches without waiting for the end. */
    class CollectingWriter extends arrow.RecordBatchFileWriter {
      protected override _write(chunk: Uint8Array | ArrayBufferView): this {
        const bytes = new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength);
        if (this._started && bytes.length > 0) {
          chunks.push(bytes);
          this._position += bytes.length;
        }
        return this;
      }
    }
    const writer = new CollectingWriter();
    writer.reset(undefined, schema);
    return new ArrowWriter(arrow, await AtomicFile.create(path), columns, schema, writer, chunks);
  }

  /** Rows of the batch that is being gathered. */
  get pendingRows(): number {
    return this.rows.length;
  }

  /** @param row One cell per column. Borrowed until the batch is flushed: must not change. */
  add(row: readonly Cell[]): void {
    this.rows.push(row);
  }

  /** Writes the gathered rows as one record batch. */
  async flush(): Promise<void> {
    if (this.rows.length > 0) {
      const { Struct, RecordBatch, makeData } = this.arrow;
      const children = this.columns.map((column, i) =>
        dataOf(
          this.arrow,
          column,
          this.rows.map((row) => row[i]!),
        ),
      );
      const type = new Struct(this.schema.fields);
      this.writer.write(
        new RecordBatch(this.schema, makeData({ type, length: this.rows.length, nullCount: 0, children })),
      );
      this.rows = [];
    }
    for (const chunk of this.chunks.splice(0)) await this.file.append(chunk);
  }

  /** Writes what is left, and gives the file its name. */
  async finish(): Promise<void> {
    await this.flush();
    this.writer.close();
    await this.flush();
    await this.file.finish();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.file[Symbol.asyncDispose]();
  }
}

function typeOf(arrow: Arrow, { type }: Column) {
  if (type === "utf8") return new arrow.Utf8();
  if (type === "binary") return new arrow.Binary();
  if (type === "int32") return new arrow.Int32();
  return new arrow.FixedSizeList(type.float32, new arrow.Field("item", new arrow.Float32(), false));
}

/** One column of a batch. Where a cell is null, its place holds zeros. */
function dataOf(arrow: Arrow, column: Column, cells: readonly Cell[]): Data {
  const length = cells.length;
  const nullCount = cells.filter((cell) => cell === null).length;
  const nullBitmap = nullCount > 0 ? bitmapOf(cells) : null;
  const { type } = column;
  if (type === "int32") {
    const data = Int32Array.from(cells, (cell) => (cell as number | null) ?? 0);
    return arrow.makeData({ type: new arrow.Int32(), length, nullCount, nullBitmap, data });
  }
  if (typeof type === "object") {
    const values = new Float32Array(length * type.float32);
    cells.forEach((cell, i) => cell && values.set(cell as Float32Array, i * type.float32));
    const child = arrow.makeData({ type: new arrow.Float32(), length: values.length, nullCount: 0, data: values });
    const list = new arrow.FixedSizeList(type.float32, new arrow.Field("item", new arrow.Float32(), false));
    return arrow.makeData({ type: list, length, nullCount, nullBitmap, child });
  }
  const parts = cells.map((cell) =>
    typeof cell === "string" ? Buffer.from(cell) : ((cell as Uint8Array | null) ?? new Uint8Array()),
  );
  const valueOffsets = new Int32Array(length + 1);
  parts.forEach((part, i) => (valueOffsets[i + 1] = valueOffsets[i]! + part.length));
  const data = new Uint8Array(Buffer.concat(parts));
  return type === "utf8"
    ? arrow.makeData({ type: new arrow.Utf8(), length, nullCount, nullBitmap, valueOffsets, data })
    : arrow.makeData({ type: new arrow.Binary(), length, nullCount, nullBitmap, valueOffsets, data });
}

function bitmapOf(cells: readonly Cell[]): Uint8Array {
  const bitmap = new Uint8Array(Math.ceil(cells.length / 8));
  cells.forEach((cell, i) => {
    if (cell !== null) bitmap[i >> 3]! |= 1 << (i & 7);
  });
  return bitmap;
}

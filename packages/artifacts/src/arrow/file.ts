import { ByteSource } from "../file/byte-source.js";
import { quote } from "../format-error.js";
import { parseBatch, type Batch } from "./batch.js";
import { formatType, type Column, type ColumnType } from "./columns.js";
import { FlatTable } from "./flat-table.js";

const MAGIC = "ARROW1";
/** At the end: the footer's length and the magic. */
const TAIL_BYTES = 4 + MAGIC.length;
const MAX_FOOTER_BYTES = 1 << 26;
/** A batch is read whole, so it may not take all memory. Ours take about a megabyte. */
const MAX_BATCH_BYTES = 2 ** 30;

/** What a file must hold; a function if that depends on its metadata. */
export type ColumnsOf = readonly Column[] | ((metadata: ReadonlyMap<string, string>) => readonly Column[]);

interface Block {
  readonly offset: number;
  readonly metadataBytes: number;
  readonly bodyBytes: number;
}

/**
 * An Arrow IPC file of known columns, read one record batch at a time. Only its footer is read when it is opened.
 *
 * Source: the Arrow columnar format 1.5, `File.fbs`, `Message.fbs`, `Schema.fbs`. Without compression, dictionaries,
 * and columns that are not of a `ColumnType`.
 */
export class ArrowFile implements AsyncDisposable {
  private constructor(
    private readonly source: ByteSource,
    private readonly columns: readonly Column[],
    private readonly blocks: readonly Block[],
    readonly metadata: ReadonlyMap<string, string>,
  ) {}

  /**
   * @returns Yours to close.
   * @throws {FormatError} If it is no such file.
   */
  static async open(path: string, columns: ColumnsOf): Promise<ArrowFile> {
    const source = await ByteSource.open(path);
    try {
      return await ArrowFile.from(source, columns);
    } catch (error) {
      await source.close();
      throw error;
    }
  }

  /** @param source Owned from now on: closed with the file. */
  static async from(source: ByteSource, columns: ColumnsOf): Promise<ArrowFile> {
    const footer = await readFooter(source);
    const schema = footer.table(1);
    if (!schema) throw source.error("its footer has no schema");
    const metadata = new Map(schema.tables(2).map((entry) => [entry.text(0), entry.text(1)]));
    const expected = typeof columns === "function" ? columns(metadata) : columns;
    checkColumns(schema, expected, source);
    const blocks = footer
      .structs(3, ["long", "int", "long"])
      .map(([offset, metadataBytes, bodyBytes], i) =>
        checkBlock({ offset: offset!, metadataBytes: metadataBytes!, bodyBytes: bodyBytes! }, i, source),
      );
    return new ArrowFile(source, expected, blocks, metadata);
  }

  get path(): string {
    return this.source.path;
  }

  get batches(): number {
    return this.blocks.length;
  }

  /** The error to throw about this file. */
  error(problem: string): Error {
    return this.source.error(problem);
  }

  /**
   * Reads record batch `index` of `batches`.
   *
   * @throws {FormatError} If it is damaged.
   */
  async readBatch(index: number): Promise<Batch> {
    const { offset, metadataBytes, bodyBytes } = this.blocks[index]!;
    const what = `record batch ${index}`;
    const bytes = await this.source.read(offset, metadataBytes + bodyBytes, what);
    return parseBatch(bytes, metadataBytes, this.columns, this.source, what);
  }

  async close(): Promise<void> {
    await this.source.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

async function readFooter(source: ByteSource): Promise<FlatTable> {
  const problem = `it is no Arrow file: it does not start and end with "${MAGIC}"`;
  if (source.size < 8 + TAIL_BYTES) throw source.error(problem);
  const [head, tail] = [await source.read(0, 8), await source.read(source.size - TAIL_BYTES, TAIL_BYTES)];
  const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");
  if (text(head.subarray(0, MAGIC.length)) !== MAGIC || text(tail.subarray(4)) !== MAGIC) throw source.error(problem);
  const length = new DataView(tail.buffer).getInt32(0, true);
  if (!(length > 0 && length <= MAX_FOOTER_BYTES && length <= source.size - 8 - TAIL_BYTES))
    throw source.error(`its footer takes ${length} bytes of ${source.size}`);
  return FlatTable.root(await source.read(source.size - TAIL_BYTES - length, length, "its footer"), source);
}

function checkBlock(block: Block, index: number, source: ByteSource): Block {
  const { offset, metadataBytes, bodyBytes } = block;
  const what = `record batch ${index}`;
  if (metadataBytes < 16 || metadataBytes % 8 !== 0)
    throw source.error(`the message of ${what} takes ${metadataBytes} bytes, expected a multiple of 8 from 16 on`);
  if (offset + metadataBytes + bodyBytes > source.size)
    throw source.error(`${what} ends at byte ${offset + metadataBytes + bodyBytes}, but the file holds ${source.size}`);
  if (metadataBytes + bodyBytes > MAX_BATCH_BYTES)
    throw source.error(`${what} takes ${metadataBytes + bodyBytes} bytes, more than ${MAX_BATCH_BYTES}`);
  return block;
}

function checkColumns(schema: FlatTable, columns: readonly Column[], source: ByteSource): void {
  if (schema.short(0) !== 0) throw source.error("its numbers are big-endian, which is not supported");
  const fields = schema.tables(1);
  const found = fields.map((field) => `${quote(field.text(0))}: ${typeOf(field)}`);
  const expected = columns.map((column) => `${quote(column.name)}: ${formatType(column)}`);
  const at = expected.findIndex((column, i) => column !== found[i]);
  if (at >= 0) throw source.error(`its column ${at} is ${found[at] ?? "missing"}, expected ${expected[at]}`);
  if (found.length > expected.length) throw source.error(`it has a column ${found[expected.length]} too many`);
}

/** The type of a field, in the words of `formatType`. The numbers are those of `Schema.fbs`. */
function typeOf(field: FlatTable): string {
  const nullable = field.byte(1) !== 0;
  const [kind, details] = [field.byte(2), field.table(3)];
  const named = (type: ColumnType): string => formatType({ type, nullable });
  if (field.table(4)) return "a dictionary";
  if (kind === 5) return named("utf8");
  if (kind === 4) return named("binary");
  if (kind === 2 && details?.int(0) === 32 && details.byte(1) === 1) return named("int32");
  const child = field.tables(5)[0];
  if (kind === 16 && details && child?.byte(2) === 3 && child.table(3)?.short(0) === 1)
    return named({ float32: details.int(0) });
  return `of a type that is not supported (${kind})`;
}

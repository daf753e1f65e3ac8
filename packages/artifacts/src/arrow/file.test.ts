import { open, readFile } from "node:fs/promises";
import { join } from "node:path";
import * as arrow from "apache-arrow";
import { ByteSource } from "../file/byte-source.js";
import { FormatError } from "../format-error.js";
import { inFolder } from "../testing.js";
import type { Cell, Column } from "./columns.js";
import { ArrowFile } from "./file.js";
import { ArrowWriter } from "./write.js";

const COLUMNS: readonly Column[] = [
  { name: "text", type: "utf8", nullable: true },
  { name: "bytes", type: "binary" },
  { name: "count", type: "int32", nullable: true },
  { name: "vector", type: { float32: 3 }, nullable: true },
];
const ROWS: readonly (readonly Cell[])[] = [
  ["äpple", Uint8Array.of(1, 2, 3), -7, Float32Array.of(1, 2, 3)],
  [null, new Uint8Array(), null, null],
  ["", Uint8Array.of(255), 2 ** 31 - 1, Float32Array.of(-0, 1e30, 4)],
];

/** The bytes of a file with two record batches. */
async function written(): Promise<Uint8Array> {
  return inFolder(async (folder) => {
    await using writer = await ArrowWriter.create(join(folder, "x"), COLUMNS, { a: "1", b: "ü" });
    for (const row of ROWS) writer.add(row);
    await writer.flush();
    writer.add(ROWS[1]!);
    await writer.finish();
    return Uint8Array.from(await readFile(join(folder, "x")));
  });
}

async function read(bytes: Uint8Array, columns = COLUMNS): Promise<Cell[][]> {
  await using file = await ArrowFile.from(ByteSource.of(bytes, "x.arrow"), columns);
  const rows: Cell[][] = [];
  for (let i = 0; i < file.batches; i++) {
    const batch = await file.readBatch(i);
    for (let row = 0; row < batch.rows; row++) rows.push(columns.map((_, column) => batch.cell(row, column)));
  }
  return rows;
}

/** The bytes of a file of one record batch, which Apache Arrow writes as it is told, right or wrong. */
function fileOf(fields: readonly arrow.Field[], length: number, children: readonly arrow.Data[]): Uint8Array {
  const schema = new arrow.Schema([...fields]);
  const data = arrow.makeData({ type: new arrow.Struct([...fields]), length, nullCount: 0, children: [...children] });
  const writer = new arrow.RecordBatchFileWriter();
  writer.write(new arrow.RecordBatch(schema, data));
  return writer.finish().toUint8Array(true);
}

const int32 = (data: Int32Array, length = data.length, nullCount = 0): arrow.Data => {
  const nullBitmap = nullCount > 0 ? new Uint8Array(Math.ceil(length / 8)) : null;
  return arrow.makeData({ type: new arrow.Int32(), length, nullCount, nullBitmap, data });
};
const utf8 = (offsets: readonly number[], text: string): arrow.Data =>
  arrow.makeData({
    type: new arrow.Utf8(),
    length: offsets.length - 1,
    nullCount: 0,
    valueOffsets: Int32Array.from(offsets),
    data: new Uint8Array(Buffer.from(text)),
  });
const TEXT: readonly Column[] = [{ name: "a", type: "utf8" }];
const COUNT: readonly Column[] = [{ name: "a", type: "int32" }];
const textField = new arrow.Field("a", new arrow.Utf8(), false);
const countField = new arrow.Field("a", new arrow.Int32(), false);

/** Replaces the first place where the numbers stand, as int32. */
function patched(bytes: Uint8Array, from: readonly number[], to: readonly number[]): Uint8Array {
  const at = Buffer.from(bytes).indexOf(Buffer.from(Int32Array.from(from).buffer));
  expect(at).toBeGreaterThan(0);
  const copy = Uint8Array.from(bytes);
  copy.set(new Uint8Array(Int32Array.from(to).buffer), at);
  return copy;
}

async function failure(bytes: Uint8Array, columns: readonly Column[]): Promise<string> {
  const error: unknown = await read(bytes, columns).catch((error: unknown) => error);
  expect(error).toBeInstanceOf(FormatError);
  return (error as Error).message.replace(/^Cannot read "x\.arrow": /, "");
}

describe("ArrowFile", () => {
  test("reads what ArrowWriter wrote, nulls and all", async () => {
    const bytes = await written();
    expect(await read(bytes)).toEqual([...ROWS, ROWS[1]]);
    await using file = await ArrowFile.from(ByteSource.of(bytes), COLUMNS);
    expect([...file.metadata]).toEqual([
      ["a", "1"],
      ["b", "ü"],
    ]);
  });

  test("chooses its columns by its metadata", async () => {
    const columns = (metadata: ReadonlyMap<string, string>): readonly Column[] =>
      metadata.get("a") === "1" ? COLUMNS : [];
    await using file = await ArrowFile.from(ByteSource.of(await written()), columns);
    expect(file.batches).toBe(2);
  });

  test("tells columns from each other", async () => {
    const bytes = await written();
    const other = (at: number, column: Column): Promise<string> => failure(bytes, COLUMNS.with(at, column));
    expect(await other(0, { name: "text", type: "utf8" })).toBe(
      'its column 0 is "text": utf8 or null, expected "text": utf8',
    );
    expect(await other(0, { name: "words", type: "utf8", nullable: true })).toMatch(
      /^its column 0 is "text": utf8 or null/,
    );
    expect(await other(1, { name: "bytes", type: "utf8" })).toBe(
      'its column 1 is "bytes": binary, expected "bytes": utf8',
    );
    expect(await other(3, { name: "vector", type: { float32: 4 }, nullable: true })).toBe(
      'its column 3 is "vector": float32[3] or null, expected "vector": float32[4] or null',
    );
    expect(await failure(bytes, COLUMNS.slice(0, 3))).toBe('it has a column "vector": float32[3] or null too many');
    expect(await failure(bytes, [...COLUMNS, { name: "more", type: "utf8" }])).toBe(
      'its column 4 is missing, expected "more": utf8',
    );
  });

  test.each([
    [new arrow.Int16(), "of a type that is not supported (2)"],
    [new arrow.Uint32(), "of a type that is not supported (2)"],
    [new arrow.Int64(), "of a type that is not supported (2)"],
    [new arrow.LargeUtf8(), "of a type that is not supported (20)"],
    [new arrow.Dictionary(new arrow.Utf8(), new arrow.Int32()), "a dictionary"],
    [new arrow.FixedSizeList(3, new arrow.Field("item", new arrow.Float64())), "of a type that is not supported (16)"],
    [new arrow.FixedSizeList(3, new arrow.Field("item", new arrow.Int32())), "of a type that is not supported (16)"],
  ])("refuses a column of %s", async (type: arrow.DataType, name) => {
    const writer = new arrow.RecordBatchFileWriter();
    writer.reset(undefined, new arrow.Schema([new arrow.Field("a", type)]));
    expect(await failure(writer.finish().toUint8Array(true), COUNT)).toBe(
      `its column 0 is "a": ${name}, expected "a": int32`,
    );
  });

  test("refuses a batch whose columns do not have its rows", async () => {
    const bytes = fileOf([countField], 7, [int32(new Int32Array(7))]);
    expect(await failure(patched(bytes, [7, 0, 0, 0], [8, 0, 0, 0]), COUNT)).toBe(
      'column "a" of record batch 0 has 8 rows, expected 7',
    );
  });

  test("refuses a column that is shorter than its rows", async () => {
    const bytes = fileOf([countField], 3, [int32(Int32Array.of(1), 3)]);
    expect(await failure(bytes, COUNT)).toBe('column "a" of record batch 0 takes 12 bytes, but its buffer holds 8');
  });

  test("refuses nulls where there may be none", async () => {
    const bytes = fileOf([countField], 2, [int32(Int32Array.of(1, 2), 2, 2)]);
    expect(await failure(bytes, COUNT)).toBe('column "a" of record batch 0 has 2 nulls, expected none');
  });

  test("refuses texts that lie outside of their bytes, or backwards", async () => {
    const bytes = fileOf([textField], 3, [utf8([0, 5, 9, 12], "twelve bytes")]);
    expect(await read(bytes, TEXT)).toEqual([["twelv"], ["e by"], ["tes"]]);
    const offsets = (...to: number[]): Promise<string> => failure(patched(bytes, [0, 5, 9, 12], to), TEXT);
    expect(await offsets(-1, 5, 9, 12)).toBe('column "a" of record batch 0 has row 0 from byte -1 to 5 of 16');
    expect(await offsets(0, 5, 4, 12)).toBe('column "a" of record batch 0 has row 1 from byte 5 to 4 of 16');
    expect(await offsets(0, 5, 9, 17)).toBe('column "a" of record batch 0 has row 2 from byte 9 to 17 of 16');
  });

  test("refuses text that is no UTF-8", async () => {
    const bytes = fileOf([textField], 1, [utf8([0, 12], "twelve bytes")]);
    bytes[Buffer.from(bytes).indexOf("twelve")] = 0xff;
    expect(await failure(bytes, TEXT)).toBe('column "a" of record batch 0 is no UTF-8 in row 0');
  });

  test("refuses a batch that is compressed", async () => {
    const zstd = Uint8Array.of(40, 181, 47, 253, 0, 0); // how such a buffer starts; it is not looked at any further
    arrow.compressionRegistry.set(1, { encode: (data) => Buffer.concat([zstd, data]), decode: (data) => data });
    const writer = new arrow.RecordBatchFileWriter({ compressionType: 1 });
    const data = arrow.makeData({
      type: new arrow.Struct([countField]),
      length: 1,
      nullCount: 0,
      children: [int32(Int32Array.of(1))],
    });
    writer.write(new arrow.RecordBatch(new arrow.Schema([countField]), data));
    writer.finish();
    expect(await failure(writer.toUint8Array(true), COUNT)).toBe(
      "record batch 0 is compressed, which is not supported",
    );
  });

  test("refuses a batch that is none, lies outside of the file, or takes all memory", async () => {
    const bytes = fileOf([countField], 1, [int32(Int32Array.of(77))]);
    const { offset, metaDataLength, bodyLength } = blockOf(bytes);
    const block = (...[to, meta, body]: [number, number, number]): Promise<string> =>
      failure(patched(bytes, [offset, 0, metaDataLength, 0, bodyLength, 0], [to, 0, meta, 0, body, 0]), COUNT);
    expect(await block(offset, metaDataLength + 4, bodyLength)).toMatch(
      /^the message of record batch 0 takes \d+ bytes/,
    );
    expect(await block(offset, 8, bodyLength)).toBe(
      "the message of record batch 0 takes 8 bytes, expected a multiple of 8 from 16 on",
    );
    expect(await block(offset, metaDataLength, 1e6)).toMatch(
      /^record batch 0 ends at byte 1000\d+, but the file holds/,
    );
    const beyond = patched(bytes, [offset, 0, metaDataLength], [bytes.length, 0, metaDataLength]);
    // Not read yet.
    await expect(ArrowFile.from(ByteSource.of(beyond), COUNT)).rejects.toThrow("record batch 0 ends at byte");
    expect(await block(-8, metaDataLength, bodyLength)).toMatch(/^record batch 0 ends at byte 4294/);
    expect(await failure(patched(bytes, [offset, 0, metaDataLength], [offset, -1, metaDataLength]), COUNT)).toMatch(
      /^its metadata holds the size -/,
    );
    // Some byte of the message is its kind.
    const kinds = Array.from({ length: metaDataLength }, (_, at) => {
      const copy = Uint8Array.from(bytes);
      if (copy[offset + at] === 3) copy[offset + at] = 1;
      return read(copy, COUNT).catch((error: unknown) => (error as Error).message);
    });
    expect(await Promise.all(kinds)).toContain(
      'Cannot read "x.arrow": record batch 0 is none: its message is of kind 1',
    );
  });

  test("refuses a batch that takes all memory", () =>
    inFolder(async (folder) => {
      const bytes = fileOf([countField], 1, [int32(Int32Array.of(77))]);
      const { offset, metaDataLength, bodyLength } = blockOf(bytes);
      const from = [offset, 0, metaDataLength, 0, bodyLength, 0];
      const large = patched(bytes, from, [offset, 0, metaDataLength, 0, 2 ** 30, 0]);
      const file = await open(join(folder, "x"), "w");
      await file.write(large, 0, large.length, 2 ** 30); // the footer lies at the end; before it, nothing is written
      await file.write(large, 0, 8, 0);
      await file.close();
      await expect(ArrowFile.open(join(folder, "x"), COUNT)).rejects.toThrow(
        /record batch 0 takes 1073\d+ bytes, more than 1073741824$/,
      );
    }));

  function blockOf(bytes: Uint8Array): { offset: number; metaDataLength: number; bodyLength: number } {
    const reader = arrow.RecordBatchReader.from(bytes).open();
    const [block] = [...reader.footer!.recordBatches()];
    return block!;
  }

  test("refuses a footer that is none", async () => {
    const bytes = fileOf([countField], 1, [int32(Int32Array.of(77))]);
    const length = (value: number): Promise<string> => {
      const copy = Uint8Array.from(bytes);
      new DataView(copy.buffer).setInt32(copy.length - 10, value, true);
      return failure(copy, COUNT);
    };
    for (const value of [0, -1, bytes.length - 17, 2 ** 31 - 1])
      expect(await length(value)).toBe(`its footer takes ${value} bytes of ${bytes.length}`);
    expect(await failure(bytes.subarray(1), COUNT)).toBe(
      'it is no Arrow file: it does not start and end with "ARROW1"',
    );
    expect(await failure(bytes.subarray(0, -1), COUNT)).toMatch(/^it is no Arrow file/);
    expect(await failure(Uint8Array.of(), COUNT)).toMatch(/^it is no Arrow file/);
  });
});

describe("a damaged Arrow file", () => {
  /** Reads all of it; a file may also stay readable, with other values. */
  async function outcome(bytes: Uint8Array): Promise<string> {
    try {
      await read(bytes);
      return "read";
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      return error.message;
    }
  }

  test("that was cut anywhere is a FormatError", async () => {
    const bytes = await written();
    for (let length = 0; length < bytes.length; length++)
      expect(await outcome(bytes.subarray(0, length))).not.toBe("read");
  });

  test("with any byte replaced is a FormatError or has other values, never anything else", async () => {
    const bytes = await written();
    const outcomes = new Set<string>();
    for (let at = 0; at < bytes.length; at++)
      for (const value of [0, 1, 0x7f, 0x80, 0xff]) {
        const damaged = Uint8Array.from(bytes);
        damaged[at] = value;
        outcomes.add(await outcome(damaged));
      }
    expect(outcomes.size).toBeGreaterThan(100); // many ways to be wrong are told apart
    expect(outcomes).toContain('Cannot read "x.arrow": its numbers are big-endian, which is not supported');
  });

  test("with any two bytes replaced, too", async () => {
    const bytes = await written();
    let state = 1;
    const random = (below: number): number => (state = (state * 48_271) % 0x7fffffff) % below;
    for (let i = 0; i < 5000; i++) {
      const damaged = Uint8Array.from(bytes);
      for (let k = 0; k < 2; k++) damaged[random(bytes.length)] = random(256);
      await outcome(damaged);
    }
  });
});

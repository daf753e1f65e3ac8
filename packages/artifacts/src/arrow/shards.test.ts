import { readFile, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as arrow from "apache-arrow";
import { inFolder } from "../testing.js";
import { ImageShardWriter, readImageShards, type ShardImage } from "./image-shards.js";
import { LatentShards, LatentShardWriter, type Latent } from "./latent-shards.js";
import { ArrowWriter } from "./write.js";

const SOURCE = "0123456789abcdef".repeat(4);

/** Images that differ in every column, with and without what may be missing. */
const imageOf = (i: number, side = 2 + (i % 3)): ShardImage => ({
  key: `00000/ünïcode ${i}`,
  label: i % 3 === 0 ? null : i - 2,
  width: side,
  height: side + 1,
  format: i % 4 === 3 ? "png" : "rgb8",
  image: Uint8Array.from({ length: side * (side + 1) * 3 }, (_, j) => i + j * 7),
  source: SOURCE.replace("0", String(i % 10)),
  json: i % 2 === 0 ? null : JSON.stringify({ i }),
});

const latentOf = (i: number, elements: number): Latent => ({
  key: `key ${i}`,
  label: i % 5 === 0 ? null : i,
  mean: Float32Array.from({ length: elements }, (_, j) => i + j / 1024),
  logvar: i % 7 === 6 ? null : Float32Array.from({ length: elements }, (_, j) => -i - j / 512),
});

async function writeImages(path: string, images: readonly ShardImage[]): Promise<Uint8Array> {
  await using writer = await ImageShardWriter.create(path);
  for (const image of images) await writer.add(image);
  expect(writer.images).toBe(images.length);
  await writer.finish();
  return readFile(path);
}

const SHAPE = { height: 4, width: 2, channels: 3 };

async function writeLatents(path: string, latents: readonly Latent[], shape = SHAPE): Promise<Uint8Array> {
  await using writer = await LatentShardWriter.create(path, shape);
  for (const latent of latents) await writer.add(latent);
  expect(writer.latents).toBe(latents.length);
  await writer.finish();
  return readFile(path);
}

const all = async <T>(items: AsyncIterable<T>): Promise<T[]> => {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
};

describe("ImageShardWriter", () => {
  test("writes what readImageShards() reads, shard after shard, in many record batches", () =>
    inFolder(async (folder) => {
      const images = Array.from({ length: 40 }, (_, i) => imageOf(i));
      const large = { ...imageOf(40, 600), format: "rgb8" as const }; // more than one record batch holds
      const paths = ["a", "b", "c"].map((name) => join(folder, name));
      await writeImages(paths[0]!, [...images.slice(0, 30), large, ...images.slice(30)]);
      await writeImages(paths[1]!, []);
      await writeImages(paths[2]!, [images[0]!]);
      const read = await all(readImageShards(paths));
      const expected = [...images.slice(0, 30), large, ...images.slice(30), images[0]!];
      // A test of equality looks at each byte of an array; of a string, at once.
      const plain = (image: ShardImage) => ({ ...image, image: Buffer.from(image.image).toString("latin1") });
      expect(read.map(plain)).toEqual(expected.map(plain));
      expect(arrow.tableFromIPC(await readFile(paths[0]!)).batches.map((batch) => batch.numRows)).toEqual([31, 10]);
    }));

  test("writes what Apache Arrow's own reader reads", () =>
    inFolder(async (folder) => {
      const images = Array.from({ length: 9 }, (_, i) => imageOf(i));
      const table = arrow.tableFromIPC(await writeImages(join(folder, "a"), images));
      expect(table.schema.fields.map((field) => [field.name, String(field.type), field.nullable])).toEqual([
        ["key", "Utf8", false],
        ["label", "Int32", true],
        ["width", "Int32", false],
        ["height", "Int32", false],
        ["format", "Utf8", false],
        ["image", "Binary", false],
        ["source", "Utf8", false],
        ["json", "Utf8", true],
      ]);
      expect(table.toArray().map((row) => ({ ...(row as arrow.StructRow).toJSON() }))).toEqual(images);
    }));

  test("counts what is said about images into a record batch", () =>
    inFolder(async (folder) => {
      const images = [0, 1, 2].map((i) => ({ ...imageOf(i), json: JSON.stringify("x".repeat(600_000)) }));
      const table = arrow.tableFromIPC(await writeImages(join(folder, "a"), images));
      expect(table.batches.map((batch) => batch.numRows)).toEqual([2, 1]);
    }));

  test("gives equal bytes for equal images", () =>
    inFolder(async (folder) => {
      const images = Array.from({ length: 9 }, (_, i) => imageOf(i));
      const [a, b] = [await writeImages(join(folder, "a"), images), await writeImages(join(folder, "b"), images)];
      expect(a).toEqual(b);
    }));

  test("leaves nothing behind when it is not finished", () =>
    inFolder(async (folder) => {
      {
        await using writer = await ImageShardWriter.create(join(folder, "a"));
        await writer.add(imageOf(0));
        expect(await readdir(folder)).toHaveLength(1);
      }
      expect(await readdir(folder)).toEqual([]);
    }));

  test.each([
    [{ key: "" }, "its key is empty"],
    [{ label: 1.5 }, "its label is 1.5"],
    [{ label: 2 ** 31 }, "its label is 2147483648"],
    [{ width: 0 }, "it is 0 x 3 pixels, expected 1 to 65535 each way"],
    [{ height: 65_536 }, "it is 2 x 65536 pixels"],
    [{ format: "gif" as never }, 'its format is "gif", expected one of rgb8, png, webp, jpeg'],
    [{ width: 3 }, "18 bytes are not 3 x 3 pixels of 3"],
    [{ source: "x" }, 'its source is "x", expected a SHA-256'],
  ])("refuses an image with %j", (change: Partial<ShardImage>, problem) =>
    inFolder(async (folder) => {
      await using writer = await ImageShardWriter.create(join(folder, "a"));
      const adding = writer.add({ ...imageOf(0), ...change });
      await expect(adding).rejects.toThrow(RangeError);
      await expect(adding).rejects.toThrow(problem);
    }),
  );
});

describe("readImageShards()", () => {
  test("refuses a row that its columns allow, and no image can be", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a");
      const bytes = await writeImages(path, [imageOf(0)]);
      const at = Buffer.from(bytes).indexOf(imageOf(0).source);
      bytes[at] = 0x58;
      await writeFile(path, bytes);
      await expect(all(readImageShards([path]))).rejects.toThrow(/row 0 of record batch 0: its source is "X/);
    }));

  test("stops when it is told to", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a");
      await writeImages(path, [imageOf(0)]);
      const signal = AbortSignal.abort(new Error("enough"));
      await expect(all(readImageShards([path], { signal }))).rejects.toThrow("enough");
    }));

  test("says what it found where a shard should be", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a");
      await expect(all(readImageShards([path]))).rejects.toThrow("there is no such file");
      await writeFile(path, "ARROW1 but no more than this");
      await expect(all(readImageShards([path]))).rejects.toThrow('it does not start and end with "ARROW1"');
      await writeLatents(path, []);
      await expect(all(readImageShards([path]))).rejects.toThrow(
        'its column 2 is "mean": float32[24], expected "width": int32',
      );
    }));
});

describe("LatentShards", () => {
  test("reads any latent of any shard, in any order, whatever it keeps in memory", () =>
    inFolder(async (folder) => {
      const shape = { height: 16, width: 16, channels: 4 }; // 8 rows per record batch
      const latents = Array.from({ length: 45 }, (_, i) => latentOf(i, 1024));
      const paths = ["a", "b", "c", "d"].map((name) => join(folder, name));
      await writeLatents(paths[0]!, latents.slice(0, 17), shape);
      await writeLatents(paths[1]!, [], shape);
      await writeLatents(paths[2]!, latents.slice(17, 33), shape);
      await writeLatents(paths[3]!, latents.slice(33), shape);
      expect(arrow.tableFromIPC(await readFile(paths[0]!)).batches.map((batch) => batch.numRows)).toEqual([8, 8, 1]);
      for (const cacheBytes of [0, 3 * 65_536, undefined]) {
        await using shards = await LatentShards.open(paths, cacheBytes === undefined ? {} : { cacheBytes });
        expect(shards).toMatchObject({ ...shape, length: 45 });
        const order = latents.map((_, i) => (i * 26 + 7) % 45);
        expect(await Promise.all(order.map((i) => shards.read(i)))).toEqual(order.map((i) => latents[i]));
      }
    }));

  test("hands out copies", () =>
    inFolder(async (folder) => {
      await writeLatents(join(folder, "a"), [latentOf(0, 24)]);
      await using shards = await LatentShards.open([join(folder, "a")]);
      (await shards.read(0)).mean.fill(7);
      expect(await shards.read(0)).toEqual(latentOf(0, 24));
    }));

  test("is what Apache Arrow's own reader reads", () =>
    inFolder(async (folder) => {
      const latents = Array.from({ length: 9 }, (_, i) => latentOf(i, 24));
      const table = arrow.tableFromIPC(await writeLatents(join(folder, "a"), latents));
      expect(Object.fromEntries(table.schema.metadata)).toEqual({
        height: "4",
        width: "2",
        channels: "3",
        rowsPerBatch: "341",
      });
      expect(table.schema.fields.map((field) => [field.name, String(field.type), field.nullable])).toEqual([
        ["key", "Utf8", false],
        ["label", "Int32", true],
        ["mean", "FixedSizeList[24]<Float32>", false],
        ["logvar", "FixedSizeList[24]<Float32>", true],
      ]);
      const rows = table.toArray() as { key: string; label: number; mean: arrow.Vector; logvar: arrow.Vector | null }[];
      const read = rows.map(({ key, label, mean, logvar }) => ({
        key,
        label,
        mean: Float32Array.from(mean),
        logvar: logvar && Float32Array.from(logvar),
      }));
      expect(read).toEqual(latents);
    }));

  test("refuses what no latent is", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a");
      await expect(LatentShardWriter.create(path, { ...SHAPE, width: 0 })).rejects.toThrow("(4, 0, 3) is no shape");
      await expect(LatentShardWriter.create(path, { ...SHAPE, width: 2 ** 24 })).rejects.toThrow("is no shape");
      await using writer = await LatentShardWriter.create(path, SHAPE);
      const latent = latentOf(0, 24);
      await expect(writer.add({ ...latent, mean: new Float32Array(23) })).rejects.toThrow(
        /the mean of "key 0" to .*: it has 23 elements, expected 24/,
      );
      latent.logvar![23] = Number.NaN;
      await expect(writer.add(latent)).rejects.toThrow(
        /the logvar of "key 0" to .*: it is not finite: 1 of 24 elements, the first is NaN at index 23/,
      );
    }));

  test("refuses a latent that is not finite, whoever wrote it", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a");
      const columns = [
        { name: "key", type: "utf8" },
        { name: "label", type: "int32", nullable: true },
        { name: "mean", type: { float32: 2 } },
        { name: "logvar", type: { float32: 2 }, nullable: true },
      ] as const;
      const metadata = { height: "1", width: "1", channels: "2", rowsPerBatch: "9" };
      {
        await using writer = await ArrowWriter.create(path, columns, metadata);
        writer.add(["mean", null, Float32Array.of(NaN, 1), Float32Array.of(0, 0)]);
        writer.add(["logvar", null, Float32Array.of(0, 0), Float32Array.of(0, -Infinity)]);
        writer.add(["good", null, Float32Array.of(0, 1), null]);
        await writer.finish();
      }
      await using shards = await LatentShards.open([path]);
      await expect(shards.read(0)).rejects.toThrow(
        `Cannot read ${JSON.stringify(path)}: the mean of latent "mean" is not finite: 1 of 2 elements, the first is NaN at index 0`,
      );
      await expect(shards.read(1)).rejects.toThrow('the logvar of latent "logvar" is not finite');
      expect((await shards.read(2)).mean).toEqual(Float32Array.of(0, 1));
    }));

  test("refuses shards that do not belong together, and latents that are not there", () =>
    inFolder(async (folder) => {
      const [a, b] = [join(folder, "a"), join(folder, "b")];
      await writeLatents(a, [latentOf(0, 24)]);
      await writeLatents(b, [latentOf(0, 24)], { height: 2, width: 4, channels: 3 });
      await expect(LatentShards.open([a, b])).rejects.toThrow(/its latents are \(2, 4, 3\), those of .* \(4, 2, 3\)/);
      await expect(LatentShards.open([])).rejects.toThrow("no shard was given");
      await using shards = await LatentShards.open([a]);
      for (const index of [-1, 1, 0.5]) await expect(shards.read(index)).rejects.toThrow(RangeError);
    }));

  test("keeps what was read last in memory, and no more than it may", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a");
      const shape = { height: 64, width: 64, channels: 2 }; // a row is a record batch
      const latents = [0, 1, 2].map((i) => latentOf(i, 8192));
      const bytes = await writeLatents(path, latents, shape);
      await using shards = await LatentShards.open([path], { cacheBytes: 2 * 65_536 });
      for (const i of [0, 1, 0, 2]) await shards.read(i); // of 0 and 1, 1 was read longer ago
      await writeFile(path, bytes.subarray(0, 100));
      expect([await shards.read(0), await shards.read(2)]).toEqual([latents[0], latents[2]]);
      await expect(shards.read(1)).rejects.toThrow("the file became shorter");
      await writeFile(path, bytes); // a read that failed is tried again
      expect(await shards.read(1)).toEqual(latents[1]);
    }));

  test("refuses record batches of other sizes than its metadata promises", () =>
    inFolder(async (folder) => {
      const columns = [
        { name: "key", type: "utf8" },
        { name: "label", type: "int32", nullable: true },
        { name: "mean", type: { float32: 1 } },
        { name: "logvar", type: { float32: 1 }, nullable: true },
      ] as const;
      const path = join(folder, "a");
      const write = async (batches: readonly number[], metadata: Readonly<Record<string, string>>): Promise<void> => {
        await using writer = await ArrowWriter.create(path, columns, metadata);
        for (const rows of batches) {
          for (let i = 0; i < rows; i++) writer.add([`${i}`, null, Float32Array.of(i), null]);
          await writer.flush();
        }
        await writer.finish();
      };
      const metadata = { height: "1", width: "1", channels: "1", rowsPerBatch: "2" };
      await write([2, 3], metadata);
      await expect(LatentShards.open([path])).rejects.toThrow("its last record batch has 3 rows, more than 2");
      await write([1, 2], metadata);
      await using shards = await LatentShards.open([path]);
      await expect(shards.read(0)).rejects.toThrow("record batch 0 has 1 rows, expected 2");
      for (const rowsPerBatch of ["0", "-1", "1.5", "x", "9999999999"]) {
        await write([1], { ...metadata, rowsPerBatch });
        await expect(LatentShards.open([path])).rejects.toThrow(
          `its metadata says rowsPerBatch is "${rowsPerBatch}", expected a positive number`,
        );
      }
      await write([1], { ...metadata, height: "5000", width: "5000" });
      await expect(LatentShards.open([path])).rejects.toThrow(
        "its latents are (5000, 5000, 1), more than 16777216 elements",
      );
      await write([1], {});
      await expect(LatentShards.open([path])).rejects.toThrow("its metadata says height is nothing");
    }));
});

import { readdir, readFile, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DataError, writeNpy } from "@madformer/artifacts";
import { inFolder } from "../faces-net/testing.js";
import { FeatureFile, featureRows, SomeRows, writeFeatures } from "./feature-file.js";

const rowsOf = (count: number, dims: number): Float32Array =>
  Float32Array.from({ length: count * dims }, (_, i) => Math.floor(i / dims) + (i % dims) / 64);

function* inParts(values: Float32Array, size: number): Generator<readonly Float32Array[]> {
  for (let at = 0; at < values.length; at += size) yield [values.subarray(at, at + size)];
}

describe("writeFeatures()", () => {
  test.each([
    [1, 64],
    [2500, 3],
    [12_345, 2],
  ])("writes, in parts, the bytes that numpy writes at once: %d of %d", (rows, dims) =>
    inFolder(async (folder) => {
      const values = rowsOf(rows, dims);
      const [ours, numpys] = [join(folder, "a.npy"), join(folder, "b.npy")];
      expect(await writeFeatures([{ path: ours, dims }], inParts(values, 7 * dims))).toBe(rows);
      await writeNpy(numpys, { shape: [rows, dims], data: values });
      expect((await readFile(ours)).equals(await readFile(numpys))).toBe(true);
    }),
  );
});

test("writeFeatures() writes two files of one number of rows, or neither", () =>
  inFolder(async (folder) => {
    const outputs = [3, 2].map((dims) => ({ path: join(folder, `${dims}.npy`), dims }));
    const [wide, narrow] = [rowsOf(10, 3), rowsOf(10, 2)];
    const parts = [0, 4].map((row) =>
      [wide, narrow].map((all, i) => all.subarray(row * outputs[i]!.dims, (row === 0 ? 4 : 10) * outputs[i]!.dims)),
    );
    expect(await writeFeatures(outputs, parts)).toBe(10);
    for (const [i, { path, dims }] of outputs.entries()) {
      await using file = await FeatureFile.open(path, 10, dims);
      expect(await file.read(0, 10)).toEqual([wide, narrow][i]);
    }
    const broken = outputs.map(({ dims }) => ({ path: join(folder, `broken-${dims}.npy`), dims }));
    const failing = function* (): Generator<readonly Float32Array[]> {
      yield parts[0]!;
      throw new Error("no more");
    };
    await expect(writeFeatures(broken, failing())).rejects.toThrow("no more");
    expect((await readdir(folder)).filter((name) => name.startsWith("broken"))).toEqual([]);
  }));

test("SomeRows has rows of others, as if there were no more", () =>
  inFolder(async (folder) => {
    const [path, values] = [join(folder, "a.npy"), rowsOf(3000, 2)];
    await writeFeatures([{ path, dims: 2 }], [[values]]);
    await using file = await FeatureFile.open(path, 3000, 2);
    const odd = new SomeRows(
      file,
      Uint32Array.from({ length: 1500 }, (_, i) => 2 * i + 1),
    );
    expect([odd.rows, odd.dims]).toEqual([1500, 2]);
    const found = [];
    for await (const part of odd.parts(400)) found.push(...part.filter((_, i) => i % 2 === 0));
    expect(found).toEqual(Array.from({ length: 1500 }, (_, i) => 2 * i + 1));
    expect([...(await odd.select([0, 1499]))].filter((_, i) => i % 2 === 0)).toEqual([1, 2999]);
  }));

describe("FeatureFile", () => {
  test("reads any rows, all in parts, or a choice of them", () =>
    inFolder(async (folder) => {
      const [path, values] = [join(folder, "a.npy"), rowsOf(3000, 5)];
      await writeFeatures([{ path, dims: 5 }], [[values]]);
      expect(await featureRows(path, 5)).toBe(3000);
      await using file = await FeatureFile.open(path, 3000, 5);
      expect(await file.read(10, 12)).toEqual(values.subarray(50, 60));
      const parts = [];
      for await (const part of file.parts(1000)) parts.push(part);
      expect(parts.map((part) => part.length)).toEqual([5000, 5000, 5000]);
      expect(Float32Array.from(parts.flatMap((part) => [...part]))).toEqual(values);
      const chosen = await file.select([0, 1023, 1024, 2999]);
      expect([...chosen].filter((_, i) => i % 5 === 0)).toEqual([0, 1023, 1024, 2999]);
      expect(await file.select([2500])).toEqual(values.subarray(12_500, 12_505));
    }));

  test("refuses rows that are not finite, and says where", () =>
    inFolder(async (folder) => {
      const [path, values] = [join(folder, "a.npy"), rowsOf(2000, 4)];
      values[1500 * 4 + 2] = Infinity;
      await writeFeatures([{ path, dims: 4 }], [[values]]);
      await using file = await FeatureFile.open(path, 2000, 4);
      const problem = (index: number, of: number): string =>
        `1 of ${of} elements, the first is Infinity at index ${index}`;
      const start = `Cannot read features ${JSON.stringify(path)}: rows`;
      await expect(file.read(1499, 1502)).rejects.toThrow(`${start} 1499 to 1501 are not finite: ${problem(6, 12)}`);
      await expect(file.select([0, 1900])).rejects.toThrow(`${start} 1024 to 1999 are not finite`);
      expect(await file.read(0, 1500)).toHaveLength(6000);
    }));

  test("refuses what is not exactly what was written", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.npy");
      await writeFeatures([{ path, dims: 4 }], [[rowsOf(10, 4)]]);
      const open = async (rows: number, dims: number): Promise<void> => {
        await using _ = await FeatureFile.open(path, rows, dims);
      };
      await open(10, 4);
      for (const [rows, dims] of [
        [9, 4],
        [11, 4],
        [20, 2],
        [4, 10],
      ] as const)
        await expect(open(rows, dims)).rejects.toThrow(`288 bytes are no .npy file of (${rows}, ${dims}) float32`);
      await truncate(path, 287);
      await expect(open(10, 4)).rejects.toThrow(DataError);
      await expect(featureRows(path, 4)).rejects.toThrow(DataError);
      await writeFile(path, "");
      await expect(open(0, 4)).rejects.toThrow("0 bytes are no .npy file");
      await expect(FeatureFile.open(join(folder, "b.npy"), 1, 1)).rejects.toThrow("there is no such file");
    }));
});

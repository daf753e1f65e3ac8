import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { torchTensor, writeSafetensors, writeTorch } from "@madformer/artifacts";
import { openInceptionWeights } from "./file.js";
import { drawnTensors, sourceOf, type DrawnTensors } from "./testing.js";
import { INCEPTION_DIMS, inceptionUnits } from "./units.js";
import { readInceptionWeights } from "./weights.js";

const tensors = drawnTensors(64);

describe("inceptionUnits()", () => {
  test("has the network's parameters, except for the classifier's", () => {
    const sizes = [...inceptionUnits(2048).values()].map(
      ({ channelsIn, channelsOut, kernel: [height, width] }) => channelsOut * (channelsIn * height * width + 2),
    );
    expect(sizes).toHaveLength(94);
    const classifier = 1008 * 2048 + 1008;
    expect(sizes.reduce((sum, size) => sum + size, 0) + classifier).toBe(23_850_960); // spec 15
  });

  test("grows with the features", () => {
    expect(INCEPTION_DIMS.map((dims) => inceptionUnits(dims).size)).toEqual([3, 5, 70, 94]);
  });
});

describe("readInceptionWeights()", () => {
  test("folds the batch normalization into the convolution, height and width first", async () => {
    const { dims, units } = await readInceptionWeights(sourceOf(tensors), 64);
    expect(dims).toBe(64);
    const name = "Conv2d_2a_3x3";
    const { kernel, bias } = units.get(name)!;
    const part = (key: string): number[] => [...tensors.get(`${name}.${key}`)!.data];
    const [filter, weight, shift] = [part("conv.weight"), part("bn.weight"), part("bn.bias")];
    const [mean, variance] = [part("bn.running_mean"), part("bn.running_var")];
    const [O, I, H, W] = tensors.get(`${name}.conv.weight`)!.shape as [number, number, number, number];
    // Normalizing by hand: ((w - mean) / sqrt(variance + 0.001)) · weight + shift.
    const normalized = (o: number, x: number): number =>
      ((x - mean[o]!) / Math.sqrt(variance[o]! + 1e-3)) * weight[o]! + shift[o]!;
    for (const [o, i, y, x] of [
      [0, 0, 0, 0],
      [31, 5, 2, 1],
      [7, 31, 1, 2],
    ] as const) {
      const w = filter[((o * I + i) * H + y) * W + x]!;
      expect(kernel[((y * W + x) * I + i) * O + o]! + bias[o]!).toBeCloseTo(normalized(o, w), 6);
      expect(bias[o]).toBeCloseTo(normalized(o, 0), 6);
    }
  });

  test("names what is missing, and what has another shape", async () => {
    const key = "Conv2d_2b_3x3.bn.running_var";
    const without = new Map([...tensors].filter(([name]) => name !== key));
    await expect(readInceptionWeights(sourceOf(without), 64)).rejects.toThrow(
      `1 tensors are missing, among them "${key}"`,
    );
    await expect(readInceptionWeights(sourceOf(tensors), 192)).rejects.toThrow("10 tensors are missing");
    const turned: DrawnTensors = new Map(tensors).set(key, { shape: [8, 8], data: new Float32Array(64) });
    await expect(readInceptionWeights(sourceOf(turned), 64)).rejects.toThrow(
      `"${key}" has shape (8, 8), expected (64)`,
    );
    const narrow: DrawnTensors = new Map(tensors).set(key, { shape: [63], data: new Float32Array(63) });
    await expect(readInceptionWeights(sourceOf(narrow), 64)).rejects.toThrow("has shape (63), expected (64)");
  });
});

describe("readInceptionWeights() refuses", () => {
  const name = "Conv2d_2b_3x3";
  const reading = (key: string, value: number, at: number) => {
    const { shape, data } = tensors.get(`${name}.${key}`)!;
    const changed = data.map((x, i) => (i === at ? value : x));
    return readInceptionWeights(sourceOf(new Map(tensors).set(`${name}.${key}`, { shape, data: changed })), 64);
  };

  test.each(["conv.weight", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var"])(
    "numbers of %s that are not finite, and names the tensor",
    async (key) => {
      const elements = tensors.get(`${name}.${key}`)!.data.length;
      await expect(reading(key, NaN, 5)).rejects.toThrow(
        `Cannot read Inception weights: "${name}.${key}" is not finite: 1 of ${elements} elements, the first is NaN at index 5`,
      );
      await expect(reading(key, Infinity, 0)).rejects.toThrow("the first is Infinity at index 0");
    },
  );

  test("what is not finite once it is folded", async () => {
    await expect(reading("bn.running_var", -1, 3)).rejects.toThrow(
      `the kernel of "${name}" with its batch normalization is not finite: 288 of 18432 elements, the first is NaN at index 3`,
    );
    await expect(reading("bn.running_mean", 3.4e38, 3)).rejects.toThrow(
      `the bias of "${name}" with its batch normalization is not finite: 1 of 64 elements, the first is -Infinity at index 3`,
    );
  });
});

describe("openInceptionWeights()", () => {
  let folder = "";
  beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), "fid-"))));
  afterAll(() => rm(folder, { recursive: true }));
  const all = Object.fromEntries([...tensors, ["fc.weight", { shape: [2, 2], data: new Float32Array(4) }]]);

  test("reads safetensors and PyTorch's files alike, and ignores what else they hold", async () => {
    const [safetensors, torch] = [join(folder, "weights.safetensors"), join(folder, "weights.pth")];
    await writeSafetensors(safetensors, all);
    await writeTorch(
      torch,
      new Map(Object.entries(all).map(([name, { shape, data }]) => [name, torchTensor({ shape, data })])),
    );
    const expected = await readInceptionWeights(sourceOf(tensors), 64);
    expect(await openInceptionWeights(safetensors, 64)).toEqual(expected);
    expect(await openInceptionWeights(torch, 64)).toEqual(expected);
    await expect(openInceptionWeights(torch)).rejects.toThrow(`"${torch}": Cannot read Inception weights: 455 tensors`);
  });

  test("names the file whose weights are not finite", async () => {
    const bad = { "Conv2d_1a_3x3.bn.bias": { shape: [32], data: new Float32Array(32).fill(NaN) } };
    const [safetensors, torch] = [join(folder, "nan.safetensors"), join(folder, "nan.pth")];
    await writeSafetensors(safetensors, { ...all, ...bad });
    await writeTorch(
      torch,
      new Map(
        Object.entries({ ...all, ...bad }).map(([name, { shape, data }]) => [name, torchTensor({ shape, data })]),
      ),
    );
    for (const path of [safetensors, torch])
      await expect(openInceptionWeights(path, 64)).rejects.toThrow(
        `Cannot read "${path}": tensor "Conv2d_1a_3x3.bn.bias" is not finite: 32 of 32 elements, the first is NaN`,
      );
  });

  test("goes by a file's content, and says what else it is", async () => {
    const [path, page] = [join(folder, "renamed.pth"), join(folder, "page.pth")];
    await writeSafetensors(path, all);
    expect(await openInceptionWeights(path, 64)).toEqual(await readInceptionWeights(sourceOf(tensors), 64));
    await writeFile(page, "<!DOCTYPE html><title>403</title>");
    await expect(openInceptionWeights(page)).rejects.toThrow(
      `Cannot read "${page}": it is an HTML page, expected one of: safetensors, PyTorch (.pt)`,
    );
  });
});

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readNpz, writeNpz } from "@madformer/artifacts";
import { readStatistics, writeStatistics } from "./file.js";

let folder = "";
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), "fid-"))));
afterAll(() => rm(folder, { recursive: true }));

const statistics = { mu: Float64Array.of(1, 2), sigma: Float64Array.of(4, 0.5, 0.5, 3) };

describe("readStatistics() and writeStatistics()", () => {
  test("keep every bit, in arrays named and shaped as pytorch-fid's", async () => {
    const path = join(folder, "good.npz");
    await writeStatistics(path, statistics);
    expect(await readStatistics(path)).toEqual(statistics);
    const { mu, sigma, ...others } = await readNpz(path);
    expect([mu?.dtype, mu?.shape, sigma?.dtype, sigma?.shape]).toEqual(["float64", [2], "float64", [2, 2]]);
    expect(others).toEqual({});
  });

  test("read single precision too", async () => {
    const path = join(folder, "single.npz");
    await writeNpz(path, {
      mu: { shape: [2], data: Float32Array.from(statistics.mu) },
      sigma: { shape: [2, 2], data: Float32Array.from(statistics.sigma) },
    });
    expect(await readStatistics(path)).toEqual(statistics);
  });

  test("refuse numbers that are not finite, and name the array", async () => {
    const path = join(folder, "infinite.npz");
    const [mu, sigma] = [Float64Array.of(1, -Infinity), Float64Array.of(4, NaN, NaN, 3)];
    const problems = [
      [{ ...statistics, mu }, "mu is not finite: 1 of 2 elements, the first is -Infinity at index 1"],
      [{ ...statistics, sigma }, "sigma is not finite: 2 of 4 elements, the first is NaN at index 1"],
    ] as const;
    for (const [bad, problem] of problems) {
      await expect(writeStatistics(path, bad)).rejects.toThrow(`Cannot write statistics to "${path}": ${problem}`);
      await writeNpz(path, { mu: { shape: [2], data: bad.mu }, sigma: { shape: [2, 2], data: bad.sigma } });
      await expect(readStatistics(path)).rejects.toThrow(`Cannot read statistics from "${path}": ${problem}`);
    }
  });

  test("say what does not fit", async () => {
    const path = join(folder, "bad.npz");
    await writeNpz(path, { mu: { shape: [2], data: statistics.mu } });
    await expect(readStatistics(path)).rejects.toThrow("it holds mu, expected mu and sigma");
    await writeNpz(path, {
      mu: { shape: [2], data: statistics.mu },
      sigma: { shape: [4], data: statistics.sigma },
    });
    await expect(readStatistics(path)).rejects.toThrow("sigma has shape (4), expected (2, 2)");
    const short = { ...statistics, sigma: new Float64Array(3) };
    await expect(writeStatistics(path, short)).rejects.toThrow("2 means, but 3 covariances, expected 4");
  });
});

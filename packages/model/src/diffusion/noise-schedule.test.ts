import { draw, expectClose, runOnce, TOLERANCE } from "../testing.js";
import { addNoise } from "./add-noise.js";
import { forwardFactors, noiseSchedule, TRAIN_TIMESTEPS } from "./noise-schedule.js";

describe("noiseSchedule()", () => {
  const { betas, alphasCumprod } = noiseSchedule();

  test("is linear from 0.0001 to 0.02", () => {
    expect(betas).toHaveLength(TRAIN_TIMESTEPS);
    expect([betas[0], betas[999]]).toEqual([Math.fround(1e-4), Math.fround(0.02)]);
    betas.forEach((beta, i) => expect(beta).toBeCloseTo(1e-4 + (i * (0.02 - 1e-4)) / 999, 8));
  });

  test("leaves ever less of the data: the product of 1 - β", () => {
    let product = 1;
    alphasCumprod.forEach((abar, i) => {
      product *= 1 - (1e-4 + (i * (0.02 - 1e-4)) / 999);
      expect(Math.abs(abar / product - 1)).toBeLessThan(1e-4); // 1 - β keeps 24 bits
      if (i > 0) expect(abar).toBeLessThan(alphasCumprod[i - 1]!);
    });
    expect(alphasCumprod[999]).toBeGreaterThan(0);
  });

  test("has factors that keep the variance", () => {
    const { signal, noise } = forwardFactors({ betas, alphasCumprod });
    signal.forEach((factor, i) => expect(factor ** 2 + noise[i]! ** 2).toBeCloseTo(1, 6));
    expect([signal[0]! > noise[0]!, signal[999]! > noise[999]!]).toEqual([true, false]);
  });
});

describe("addNoise()", () => {
  const [latents, noise] = [draw("latents", 2, 3, 4, 2), draw("noise", 2, 3, 4, 2)];
  const t = { shape: [2, 3], data: Int32Array.of(0, 999, 500, 1, 250, 998) };

  test("noises each block of each image at its own timestep", async () => {
    const { y } = await runOnce({ latents, noise, t }, ({ latents, noise, t }) => ({ y: addNoise(latents, noise, t) }));
    const { alphasCumprod } = noiseSchedule();
    const expected = latents.data.map((x, i) => {
      const abar = alphasCumprod[t.data[Math.floor(i / 8)]!]!;
      return Math.sqrt(abar) * x + Math.sqrt(1 - abar) * noise.data[i]!;
    });
    expectClose(y, expected, TOLERANCE.elementwise);
  });

  test("names timesteps that do not fit", async () => {
    const wrong = { shape: [3, 2], data: t.data };
    const attempt = runOnce({ latents, noise, wrong }, (x) => ({
      y: addNoise(x.latents, x.noise, x.wrong),
    }));
    await expect(attempt).rejects.toThrow("addNoise: t has shape (3, 2), expected (2, 3)");
  });
});

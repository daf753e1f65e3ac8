import { draw, expectClose, runOnce, TOLERANCE } from "../testing.js";
import { noiseSchedule } from "./noise-schedule.js";
import { lossWeights, noiseAndData, PREDICTIONS, predictionTarget } from "./prediction.js";

const [data, noise] = [draw("data", 3, 4), draw("noise", 3, 4)];
const alpha = { shape: [], data: Float32Array.of(0.8) };
const sigma = { shape: [], data: Float32Array.of(0.6) };
const x = { shape: [3, 4], data: data.data.map((value, i) => 0.8 * value + 0.6 * noise.data[i]!) };

test.each(PREDICTIONS)("noise and data follow from a perfect prediction (%s)", async (prediction) => {
  const found = await runOnce({ data, noise, x, alpha, sigma }, ({ data, noise, x, alpha, sigma }) => {
    const output = predictionTarget(prediction, data, noise, { alpha, sigma });
    return { ...noiseAndData(prediction, x, output, { alpha, sigma }) };
  });
  expectClose(found.noise, noise.data, 4 * TOLERANCE.elementwise, "noise"); // a difference, divided by 0.6
  expectClose(found.data, data.data, 4 * TOLERANCE.elementwise, "data");
});

describe("lossWeights()", () => {
  const { alphasCumprod } = noiseSchedule();

  test.each([{ by: "snr" }, { by: "snr", most: 5 }, { by: "snr+1" }, { by: "snr+1", most: 1.5 }] as const)(
    "give an error of the data the same weight whatever is predicted (%j)",
    (weighting) => {
      const [ofNoise, ofData, ofV] = PREDICTIONS.map((prediction) => lossWeights(prediction, weighting));
      alphasCumprod.forEach((abar, t) => {
        // An error of x₀ by 1 is one of ε by sqrt(SNR), and one of v by sqrt(SNR + 1).
        const snr = abar / (1 - abar);
        const expected = Math.min(weighting.by === "snr" ? snr : snr + 1, "most" in weighting ? weighting.most : 1e9);
        expect(ofData![t]! / expected).toBeCloseTo(1, 5);
        expect((ofNoise![t]! * snr) / expected).toBeCloseTo(1, 5);
        expect((ofV![t]! * (snr + 1)) / expected).toBeCloseTo(1, 5);
      });
    },
  );

  test("by SNR are 1 for the noise, and by SNR + 1 for v", () => {
    for (const weight of [...lossWeights("epsilon", { by: "snr" }), ...lossWeights("v", { by: "snr+1" })])
      expect(weight).toBeCloseTo(1, 6);
  });
});

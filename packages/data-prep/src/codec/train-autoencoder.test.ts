import { imagesOfStep } from "./train-autoencoder.js";

describe("imagesOfStep()", () => {
  test("visits every image once an epoch, in another order each time, whatever the batch", () => {
    const n = 10;
    const visits = (batchImages: number, seed = 1): number[] =>
      Array.from({ length: (3 * n) / batchImages }, (_, step) => imagesOfStep({ seed, batchImages }, n, step)).flat();
    const all = visits(3); // batches cross the ends of epochs
    const epochs = [0, 1, 2].map((epoch) => all.slice(epoch * n, (epoch + 1) * n));
    for (const epoch of epochs) expect([...epoch].sort()).toEqual(Array.from({ length: n }, (_, i) => i));
    expect(new Set(epochs.map(String)).size).toBe(3);
    expect(visits(5)).toEqual(all);
    expect(visits(3, 2)).not.toEqual(all);
  });

  test("takes an image twice where a batch is larger than an epoch", () => {
    expect(imagesOfStep({ seed: 1, batchImages: 4 }, 1, 7)).toEqual([0, 0, 0, 0]);
  });
});

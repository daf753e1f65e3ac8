import { join } from "node:path";
import { inFolder } from "../faces-net/testing.js";
import { FeatureFile, writeFeatures } from "../features/feature-file.js";
import { classScore, classScoreOf } from "./class-score.js";

const DIMS = 6;
const signal = new AbortController().signal;

/** Features and weights that another program can make, too. */
function features(rows: number): Float32Array {
  return Float32Array.from({ length: rows * DIMS }, (_, at) => {
    const [i, j] = [Math.floor(at / DIMS), at % DIMS];
    return (((i * 37 + j * 101 + ((i * j) % 89) * 13 + i * i) % 97) / 64) * 1.25;
  });
}
function classifier(classes: number) {
  const weight = Float32Array.from({ length: classes * DIMS }, (_, at) => {
    const [c, d] = [Math.floor(at / DIMS), at % DIMS];
    return (((c * 29 + d * 53 + c * c * 7) % 997) - 498) / 160;
  });
  return { attributes: [{ name: "class", classes }], weight };
}
const withFile = <T>(values: Float32Array, run: (file: FeatureFile) => Promise<T>): Promise<T> =>
  inFolder(async (folder) => {
    const path = join(folder, "a.npy");
    await writeFeatures([{ path, dims: DIMS }], [[values]]);
    await using file = await FeatureFile.open(path, values.length / DIMS, DIMS);
    return await run(file);
  });

// torch-fidelity 0.4.0, isc_features_to_metric(logits, 10, True, 2020), logits as doubles.
test.each([
  [1008, 620, 1.3282548715506461, 0.0599825805240084],
  [1008, 37, 1.2163563494512024, 0.26835623355676824],
  [300, 620, 1.33801804540211, 0.06319453041521822],
  [300, 37, 1.221865462034407, 0.27242405601520947],
])("classScoreOf() is torch-fidelity's inception score: %d classes, %d images", (classes, rows, mean, std) =>
  withFile(features(620).subarray(0, rows * DIMS), async (file) => {
    const found = await classScoreOf(file, classifier(classes), { splits: 10, seed: 2020 });
    expect(found.mean / mean).toBeCloseTo(1, 10);
    expect(found.std / std).toBeCloseTo(1, 8);
  }),
);

test("classScoreOf() is the number of classes where each image is surely of another, and 1 where nothing is told", () =>
  withFile(
    Float32Array.from({ length: 60 * DIMS }, (_, at) => (at % DIMS === Math.floor(at / DIMS) % DIMS ? 1 : 0)),
    async (file) => {
      const options = { splits: 1, seed: 0 };
      const attributes = [{ name: "kind", classes: DIMS }];
      const identity = (scale: number): Float32Array =>
        Float32Array.from({ length: DIMS ** 2 }, (_, at) => (at % (DIMS + 1) === 0 ? scale : 0));
      expect((await classScoreOf(file, { attributes, weight: identity(50) }, options)).mean).toBeCloseTo(DIMS, 9);
      expect((await classScoreOf(file, { attributes, weight: identity(0) }, options)).mean).toBeCloseTo(1, 12);
      // A bias that nothing overcomes makes all images one class.
      const bias = Float32Array.of(200, 0, 0, 0, 0, 0);
      expect((await classScoreOf(file, { attributes, weight: identity(50), bias }, options)).mean).toBeCloseTo(1, 9);
      // One attribute tells all three pairs apart, one nothing: the exponent is the mean of log 3 and 0.
      const two = [
        { name: "pair", classes: 3 },
        { name: "nothing", classes: 2 },
      ];
      const weight = Float32Array.from({ length: 5 * DIMS }, (_, at) =>
        Math.floor(at / DIMS) === Math.floor((at % DIMS) / 2) ? 50 : 0,
      );
      expect((await classScoreOf(file, { attributes: two, weight }, options)).mean).toBeCloseTo(Math.sqrt(3), 9);
    },
  ));

test("classScoreOf() refuses more parts than images, and the metric is left out below two images a part", () =>
  withFile(features(19), async (file) => {
    await expect(classScoreOf(file, classifier(5), { splits: 20, seed: 0 })).rejects.toThrow(
      "Cannot score 19 images in 20 parts",
    );
    const options = { limit: 1, neighbours: 1, seed: 0, signal };
    expect(await classScore.of({}, { features: file, classifier: classifier(5) }, options)).toBeUndefined();
    expect(await classScore.of({}, { features: file }, options)).toBeUndefined();
  }));

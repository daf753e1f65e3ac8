/**
 * `node --import tsx packages/fid/bench/degradations.ts SHARDS NET [--images N] [--attributes-only] [--json]`
 *
 * How the distance by faces-net reacts to what is done to images: blur, noise, JPEG's quantization, patches in another
 * place, attributes that never vary. SHARDS and NET are folders that the stages `shards` and `faces-net` wrote. The
 * first half of the images is the reference, the others are degraded, so that at strength 0 the distance is its floor.
 */
import { parseArgs } from "node:util";
import { openFolder, pixelsOfImage, readImageShards } from "@madformer/artifacts";
import { normal, permutation, randomKey } from "@madformer/engine";
import { FacesNetExtractor, FeatureStatistics, frechetDistance, precisionRecall, readFacesNet } from "@madformer/fid";

const { values, positionals } = parseArgs({
  options: {
    images: { type: "string", default: "4000" },
    json: { type: "boolean", default: false },
    "attributes-only": { type: "boolean", default: false },
  },
  allowPositionals: true,
});
const [shards, net] = positionals;
if (shards === undefined || net === undefined) throw new Error("expected two folders: shards and net");

interface Face {
  readonly pixels: Uint8Array;
  readonly attributes: Readonly<Record<string, unknown>>;
}
type Degradation = (pixels: Uint8Array, side: number, strength: number, image: number) => Uint8Array;

const clipped = (x: number): number => Math.max(0, Math.min(255, Math.round(x)));

/** A Gaussian of `strength` pixels, edges repeated. */
const blur: Degradation = (pixels, side, sigma) => {
  const reach = Math.ceil(3 * sigma);
  const weights = Array.from({ length: 2 * reach + 1 }, (_, i) => Math.exp(-((i - reach) ** 2) / (2 * sigma ** 2)));
  const total = weights.reduce((a, b) => a + b);
  const along = (from: Float64Array, step: number): Float64Array => {
    const to = new Float64Array(from.length);
    for (let i = 0; i < from.length; i++) {
      const at = Math.floor(i / step) % side; // row or column
      for (let k = -reach; k <= reach; k++) {
        const source = Math.max(0, Math.min(side - 1, at + k)) - at;
        to[i] = to[i]! + (weights[k + reach]! / total) * from[i + source * step]!;
      }
    }
    return to;
  };
  return Uint8Array.from(along(along(Float64Array.from(pixels), 3), 3 * side), clipped);
};

/** Normal noise of `strength` gray levels. */
const noise: Degradation = (pixels, _, sigma, image) => {
  const added = normal(randomKey(0, "degradations/noise", [image]), { size: pixels.length });
  return pixels.map((x, i) => clipped(x + sigma * added[i]!));
};

/** The luminance table of the JPEG standard (annex K). */
const TABLE = [
  16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51,
  87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101,
  72, 92, 95, 98, 112, 100, 103, 99,
];
const COSINES = Array.from({ length: 64 }, (_, i) => {
  const [k, x] = [i >> 3, i & 7];
  return (k === 0 ? Math.SQRT1_2 : 1) * 0.5 * Math.cos(((2 * x + 1) * k * Math.PI) / 16);
});

/** What JPEG loses at quality 100 - `strength`: cosine transforms of 8x8 pixels are rounded, here by channel of RGB. */
const jpeg: Degradation = (pixels, side, strength) => {
  const quality = 100 - strength;
  const scale = quality < 50 ? 50 / quality : 2 - quality / 50;
  const steps = TABLE.map((step) => Math.max(1, Math.round(step * scale)));
  const result = new Uint8Array(pixels.length);
  const transform = (block: readonly number[], forward: boolean): number[] => {
    const matrix = (a: number, b: number): number => COSINES[forward ? a * 8 + b : b * 8 + a]!;
    const pass = (from: readonly number[]): number[] =>
      Array.from({ length: 64 }, (_, i) => {
        let sum = 0;
        for (let k = 0; k < 8; k++) sum += matrix(i & 7, k) * from[(i >> 3) * 8 + k]!;
        return sum;
      });
    const turned = (from: readonly number[]): number[] => from.map((_, i) => from[(i & 7) * 8 + (i >> 3)]!);
    return turned(pass(turned(pass(block))));
  };
  for (let top = 0; top < side; top += 8)
    for (let left = 0; left < side; left += 8)
      for (let c = 0; c < 3; c++) {
        const at = (i: number): number => ((top + (i >> 3)) * side + left + (i & 7)) * 3 + c;
        const block = Array.from({ length: 64 }, (_, i) => pixels[at(i)]! - 128);
        const rounded = transform(block, true).map((x, i) => Math.round(x / steps[i]!) * steps[i]!);
        transform(rounded, false).forEach((x, i) => (result[at(i)] = clipped(x + 128)));
      }
  return result;
};

/** `strength` of the 64 patches change places. */
const shuffle: Degradation = (pixels, side, strength, image) => {
  const size = side / 8;
  const moved = [...permutation(randomKey(0, "degradations/which", [image]), 64, { size: strength })];
  const order = permutation(randomKey(0, "degradations/where", [image]), strength);
  const result = pixels.slice();
  moved.forEach((patch, i) => {
    const source = moved[order[i]!]!;
    for (let row = 0; row < size; row++) {
      const start = (p: number): number => ((Math.floor(p / 8) * size + row) * side + (p % 8) * size) * 3;
      result.set(pixels.subarray(start(source), start(source) + size * 3), start(patch));
    }
  });
  return result;
};

async function load(limit: number): Promise<{ faces: Face[]; side: number }> {
  const artifact = await openFolder(shards!);
  const files = artifact.files.filter((file) => /^images-\d+\.arrow$/.test(file));
  const faces: Face[] = [];
  let side = 0;
  for await (const image of readImageShards(await Promise.all(files.map((file) => artifact.path(file))))) {
    const json = JSON.parse(image.json ?? "{}") as { attributes?: Face["attributes"] };
    faces.push({ pixels: await pixelsOfImage(image), attributes: json.attributes ?? {} });
    side = image.width;
    if (faces.length === limit) break;
  }
  return { faces, side };
}

const N = Number(values.images);
const { faces, side } = await load(2 * N);
const half = Math.floor(faces.length / 2);
const [reference, others] = [faces.slice(0, half), faces.slice(half)];
const folder = await openFolder(net);
await using extractor = await FacesNetExtractor.create(
  await readFacesNet({ description: await folder.path("net.json"), weights: await folder.path("net.safetensors") }),
);

async function featuresOf(images: readonly Uint8Array[]): Promise<Float32Array> {
  const features = new Float32Array(images.length * extractor.dims);
  for (let first = 0; first < images.length; first += 500) {
    const part = images.slice(first, first + 500);
    features.set(await extractor.features(Uint8Array.from(Buffer.concat(part))), first * extractor.dims);
  }
  return features;
}
function gaussianOf(features: Float32Array) {
  const statistics = new FeatureStatistics(extractor.dims);
  statistics.add(features);
  return statistics.gaussian();
}

const expected = await featuresOf(reference.map(({ pixels }) => pixels));
const expectedGaussian = gaussianOf(expected);
const NEIGHBOURS_OF = Math.min(2000, half);
async function row(name: string, strength: number | string, images: readonly Uint8Array[]): Promise<void> {
  const features = await featuresOf(images);
  const distance = frechetDistance(expectedGaussian, gaussianOf(features));
  const count = Math.min(NEIGHBOURS_OF, images.length) * extractor.dims;
  const { precision, recall } = await precisionRecall(
    expected.subarray(0, count),
    features.subarray(0, count),
    extractor.dims,
  );
  const figures = { name, strength, images: images.length, distance, precision, recall };
  console.log(
    values.json
      ? JSON.stringify(figures)
      : [
          name.padEnd(22),
          String(strength).padEnd(6),
          images.length,
          distance.toFixed(3),
          precision.toFixed(3),
          recall.toFixed(3),
        ].join("  "),
  );
}

await row(
  "none",
  0,
  others.map(({ pixels }) => pixels),
);
const DEGRADATIONS: readonly [string, Degradation, readonly number[]][] = [
  ["blur, pixels", blur, [0.5, 0.75, 1, 1.5, 2, 4]],
  ["noise, gray levels", noise, [2, 4, 8, 16, 32, 64]],
  ["JPEG, 100 - quality", jpeg, [10, 25, 50, 75, 90, 95]],
  ["patches moved, of 64", shuffle, [2, 4, 8, 16, 32, 64]],
];
for (const [name, degrade, strengths] of values["attributes-only"] ? [] : DEGRADATIONS)
  for (const strength of strengths)
    await row(
      name,
      strength,
      others.map(({ pixels }, image) => degrade(pixels, side, strength, image)),
    );

// Attributes that no longer vary: only faces without hats, then without glasses too, and so on.
const FIXED = ["hat", "glasses", "facialHair", "lips", "earrings"];
const kept = (count: number): Face[] =>
  others.filter(({ attributes }) =>
    FIXED.slice(0, count).every((name) => attributes[name] === (name === "lips" ? "natural" : "none")),
  );
for (let count = 1; count <= FIXED.length; count++) {
  const faces = kept(count);
  await row(
    "attributes fixed",
    count,
    faces.map(({ pixels }) => pixels),
  );
  // As many faces with everything: what of this distance is their smaller number.
  await row(
    "none, as few",
    0,
    others.slice(0, faces.length).map(({ pixels }) => pixels),
  );
}

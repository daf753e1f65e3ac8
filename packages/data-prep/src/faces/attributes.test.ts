import { FACE_ATTRIBUTES, faceAttributes, type FaceAttributeName, type FaceAttributes } from "./attributes.js";

const NAMES = Object.keys(FACE_ATTRIBUTES) as FaceAttributeName[];
const COUNT = 4000;
const FACES = Array.from({ length: COUNT }, (_, index) => faceAttributes(5, index));

/** A value as one of a few bins: the class of a choice, the quarter of a range. */
function bin(name: FaceAttributeName, face: FaceAttributes): number {
  const [attribute, value] = [FACE_ATTRIBUTES[name], face[name]];
  if (attribute.kind === "choice") return (attribute.values as readonly unknown[]).indexOf(value);
  return Math.min(3, Math.floor((4 * ((value as number) - attribute.low)) / (attribute.high - attribute.low)));
}

/** The share of each bin that the table promises. */
function shares(name: FaceAttributeName): readonly number[] {
  const attribute = FACE_ATTRIBUTES[name];
  if (attribute.kind === "range") return [0.25, 0.25, 0.25, 0.25];
  const total = attribute.weights.reduce((sum, weight) => sum + weight, 0);
  return attribute.weights.map((weight) => weight / total);
}

/** How many standard deviations a chi-square lies above its mean (Wilson and Hilferty's approximation). */
function deviations(chiSquare: number, freedom: number): number {
  const spread = 2 / (9 * freedom);
  return (Math.cbrt(chiSquare / freedom) - (1 - spread)) / Math.sqrt(spread);
}

const binsOf = (faces: readonly FaceAttributes[]) =>
  new Map(NAMES.map((name) => [name, Uint8Array.from(faces, (face) => bin(name, face))]));
const BINS = binsOf(FACES);

/** How far a pair of attributes, the second of `others`, is from being drawn independently with the promised shares. */
function dependence(a: FaceAttributeName, b: FaceAttributeName, others: Uint8Array): number {
  const [shareA, shareB] = [shares(a), shares(b)];
  const counts = shareA.map(() => shareB.map(() => 0));
  for (const [i, other] of others.entries()) counts[BINS.get(a)![i]!]![other]!++;
  let sum = 0;
  for (const [i, row] of counts.entries())
    for (const [j, count] of row.entries()) {
      const expected = others.length * shareA[i]! * shareB[j]!;
      sum += (count - expected) ** 2 / expected;
    }
  return deviations(sum, shareA.length * shareB.length - 1);
}

// Of 595 pairs, chance puts one beyond 4.5 deviations in one seed of 500; this seed is fixed.
const MOST_DEVIATIONS = 4.5;

describe("faceAttributes()", () => {
  test("draws at least 15 attributes, each as its table entry says", () => {
    expect(NAMES.length).toBeGreaterThanOrEqual(15);
    for (const face of FACES.slice(0, 500)) {
      expect(Object.keys(face)).toEqual(NAMES);
      for (const name of NAMES) {
        const [attribute, value] = [FACE_ATTRIBUTES[name], face[name]];
        if (attribute.kind === "choice") expect(attribute.values).toContain(value);
        else expect((value as number) >= attribute.low && (value as number) <= attribute.high).toBe(true);
      }
    }
  });

  test("depends on seed and index alone", () => {
    for (const index of [3999, 17, 0]) expect(faceAttributes(5, index)).toEqual(FACES[index]);
    expect(faceAttributes(6, 17)).not.toEqual(FACES[17]);
    expect(JSON.parse(JSON.stringify(FACES[17]))).toEqual(FACES[17]); // nothing is lost in its record
  });

  test("means the same by a seed as it did", () => {
    // Written down from the first version: other numbers here mean that every data set changes.
    expect(faceAttributes(1, 0)).toMatchObject({ skinTone: 0.8133, hairStyle: "parted", smile: -0.1504 });
    const last = 2 ** 53 - 1;
    expect(faceAttributes(last, last)).toMatchObject({ skinTone: 0.9624, hairStyle: "quiff", clothing: "crew" });
  });

  test("draws any two attributes of a face independently, with the shares of the table", () => {
    const pairs = NAMES.flatMap((a, i) => NAMES.slice(0, i).map((b) => ({ a, b, by: dependence(a, b, BINS.get(b)!) })));
    expect(pairs.filter(({ by }) => !(by < MOST_DEVIATIONS))).toEqual([]);
  });

  test("draws neighbours, and the same index of the next seed, independently", () => {
    const nextSeed = binsOf(FACES.map((_, index) => faceAttributes(6, index)));
    for (const name of NAMES) {
      expect([name, dependence(name, name, BINS.get(name)!.subarray(1)) < MOST_DEVIATIONS]).toEqual([name, true]);
      expect([name, dependence(name, name, nextSeed.get(name)!) < MOST_DEVIATIONS]).toEqual([name, true]);
    }
  });

  test("reaches both ends of every range", () => {
    for (const name of NAMES) {
      const attribute = FACE_ATTRIBUTES[name];
      if (attribute.kind === "choice") continue;
      const values = FACES.map((face) => face[name] as number);
      const margin = 0.005 * (attribute.high - attribute.low); // 20 of 4000 faces are expected beyond it
      expect([name, Math.min(...values) < attribute.low + margin]).toEqual([name, true]);
      expect([name, Math.max(...values) > attribute.high - margin]).toEqual([name, true]);
    }
  });

  test.each([
    [-1, 0, "seed"],
    [0.5, 0, "seed"],
    [0, -1, "ind"],
    [0, NaN, "ind"],
  ])("refuses seed %p and index %p", (seed, index, named) => {
    expect(() => faceAttributes(seed, index)).toThrow(RangeError);
    expect(() => faceAttributes(seed, index)).toThrow(named);
  });
});

import { FACE_ATTRIBUTES, faceAttributes, type FaceAttributes } from "./attributes.js";
import { attributeTargets, FACE_CHOICES, FACE_RANGES } from "./targets.js";

/** A face with every range at `share` of its way and every choice at its first or last value. */
function extreme(share: number, end: 0 | -1): FaceAttributes {
  const values = Object.entries(FACE_ATTRIBUTES).map(([name, a]) => [
    name,
    a.kind === "choice" ? a.values.at(end) : a.low + share * (a.high - a.low),
  ]);
  return Object.fromEntries(values) as FaceAttributes;
}

describe("attributeTargets()", () => {
  test("has a class per choice and a number per range, all attributes together", () => {
    expect([...FACE_CHOICES.map(({ name }) => name), ...FACE_RANGES].sort()).toEqual(
      Object.keys(FACE_ATTRIBUTES).sort(),
    );
    expect(FACE_CHOICES.find(({ name }) => name === "glasses")).toEqual({ name: "glasses", classes: 4 });
  });

  test("maps the ends of ranges to 0 and 1, and choices to their positions", () => {
    const [low, high, quarter] = [extreme(0, 0), extreme(1, -1), extreme(0.25, 0)].map(attributeTargets);
    expect([...low!.classes]).toEqual(FACE_CHOICES.map(() => 0));
    expect([...high!.classes]).toEqual(FACE_CHOICES.map(({ classes }) => classes - 1));
    expect([...low!.values]).toEqual(FACE_RANGES.map(() => 0));
    expect([...high!.values]).toEqual(FACE_RANGES.map(() => 1));
    for (const value of quarter!.values) expect(value).toBeCloseTo(0.25, 6); // rounded to float32
  });

  test("puts each target where the tables of names say", () => {
    const face = { ...faceAttributes(1, 2), hat: "cap", smile: 0.2 } as const;
    const { classes, values } = attributeTargets(face);
    expect(classes[FACE_CHOICES.findIndex(({ name }) => name === "hat")]).toBe(
      FACE_ATTRIBUTES.hat.values.indexOf("cap"),
    );
    expect(values[FACE_RANGES.indexOf("smile")]).toBeCloseTo(0.5, 6); // 0.2 is the middle of [-0.6, 1]
  });
});

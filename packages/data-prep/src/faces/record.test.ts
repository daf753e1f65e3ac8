import { faceAttributes } from "./attributes.js";
import { FaceRecord, faceRecord } from "./record.js";

const GOOD = faceRecord(3, 4);

describe("FaceRecord", () => {
  test("takes what faceRecord() makes, through JSON", () => {
    expect(GOOD).toEqual({ seed: 3, index: 4, attributes: faceAttributes(3, 4) });
    for (let index = 0; index < 200; index++) {
      const record = faceRecord(3, index);
      expect(FaceRecord.parse(JSON.parse(JSON.stringify(record)))).toEqual(record);
    }
  });

  test.each<[string, unknown]>([
    ["another attribute", { ...GOOD, attributes: { ...GOOD.attributes, wings: 2 } }],
    ["a missing attribute", { ...GOOD, attributes: { ...GOOD.attributes, smile: undefined } }],
    ["an unknown choice", { ...GOOD, attributes: { ...GOOD.attributes, hat: "crown" } }],
    ["a number out of range", { ...GOOD, attributes: { ...GOOD.attributes, smile: 1.01 } }],
    ["a number below its range", { ...GOOD, attributes: { ...GOOD.attributes, smile: -0.61 } }],
    ["a number as text", { ...GOOD, attributes: { ...GOOD.attributes, smile: "0" } }],
    ["no index", { seed: 3, attributes: GOOD.attributes }],
    ["a negative seed", { ...GOOD, seed: -1 }],
    ["another field", { ...GOOD, more: 1 }],
  ])("refuses %s", (_, record) => {
    expect(FaceRecord.safeParse(record).success).toBe(false);
  });
});

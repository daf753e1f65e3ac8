import { faceAttributes } from "./attributes.js";
import { faceClasses } from "./classes.js";

describe("faceClasses()", () => {
  test("are what an attribute can be", () => {
    const { names, labelOf } = faceClasses("glasses");
    expect(names).toEqual(["glasses=none", "glasses=round", "glasses=square", "glasses=sunglasses"]);
    for (let i = 0; i < 20; i++) {
      const face = faceAttributes(1, i);
      expect(names[labelOf(face)]).toBe(`glasses=${face.glasses}`);
    }
  });

  test("are the combinations of several", () => {
    const { names, labelOf } = faceClasses("hairColor,glasses");
    expect([names.length, names[0], names[5]]).toEqual([
      32,
      "hairColor=black glasses=none",
      "hairColor=brown glasses=round",
    ]);
    for (let i = 0; i < 20; i++) {
      const face = faceAttributes(2, i);
      expect(names[labelOf(face)]).toBe(`hairColor=${face.hairColor} glasses=${face.glasses}`);
    }
  });

  test.each([
    ["", 'Cannot make classes of "": expected attributes such as hairStyle, hairColor,'],
    ["smile", 'Cannot make classes of "smile": expected attributes such as'],
    ["glasses,toString", 'Cannot make classes of "toString": expected attributes such as'],
    ["hat,hat", 'Cannot make classes of "hat,hat": an attribute is named twice'],
    ["hairStyle,hairColor,background,glasses", "they are 2816, more than 1000"],
  ])("refuse %j", (text, message) => expect(() => faceClasses(text)).toThrow(message));
});

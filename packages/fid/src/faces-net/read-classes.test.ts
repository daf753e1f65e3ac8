import { ClassReader } from "./read-classes.js";
import type { Label } from "./labels.js";

const labels: Label[] = [
  { kind: "classes", name: "glasses", values: ["none", "round"] },
  { kind: "number", name: "smile", min: 0, max: 1 },
  { kind: "classes", name: "hat", values: ["beanie", "cap", "none"] },
];
const readerOf = (...names: string[]) =>
  new ClassReader(labels, { classes: names.map((name, label) => ({ label: label + 5, name })), labels: {} });

describe("ClassReader", () => {
  test("reads a class where every attribute of its name has its likeliest value", () => {
    const reader = readerOf("hat=cap glasses=none", "hat=none glasses=round");
    reader.add(5, Float32Array.of(2, 1, 9, 0, 3, 1)); // no glasses, a cap
    reader.add(5, Float32Array.of(1, 2, 9, 0, 3, 1)); // glasses, a cap
    reader.add(6, Float32Array.of(1, 2, 9, 0, 1, 3)); // glasses, no hat
    expect(reader.tallies).toEqual([
      { label: 5, name: "hat=cap glasses=none", images: 2, read: 1 },
      { label: 6, name: "hat=none glasses=round", images: 1, read: 1 },
    ]);
    expect(Object.fromEntries(reader.attributes)).toEqual({
      hat: { images: 3, read: 3 },
      glasses: { images: 3, read: 2 },
    });
  });

  test.each(["", "cat", "hat=fez", "smile=1", "hat=cap shoes=red"])("refuses a class called %j", (name) => {
    expect(() => readerOf(name)).toThrow(/^Cannot read class 5: ".*" is nothing that the network knows, expected/);
  });

  test("refuses an image of a class that is not listed", () => {
    expect(() => readerOf("hat=cap").add(1, new Float32Array(6))).toThrow(
      "Cannot read classes: an image is of class 1, which is not listed",
    );
  });
});

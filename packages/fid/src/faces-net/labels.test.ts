import { DataError } from "@madformer/artifacts";
import { LabelCollector, totalOutputs, type LabelTable } from "./labels.js";

const tableOf = (...rows: readonly unknown[]): LabelTable => {
  const collector = new LabelCollector();
  rows.forEach((row, i) => collector.add(typeof row === "string" ? row : JSON.stringify(row), `image ${i}`));
  return collector.table();
};

describe("LabelCollector", () => {
  test("makes classes of strings and truth values, in the order of their names, and brings numbers to [-1, 1]", () => {
    const { labels, targets, leftOut } = tableOf(
      { smile: 2, hat: "none", shown: true },
      { smile: 6, hat: "cap", shown: false },
      { smile: 3, hat: "none", shown: false },
    );
    expect(labels).toEqual([
      { kind: "classes", name: "hat", values: ["cap", "none"] },
      { kind: "classes", name: "shown", values: ["false", "true"] },
      { kind: "number", name: "smile", min: 2, max: 6 },
    ]);
    expect([...targets]).toEqual([1, 1, -1, 0, 0, 1, 1, 0, -0.5]);
    expect(leftOut).toEqual({});
    expect(totalOutputs(labels)).toBe(5);
  });

  test("marks what an image does not have, whenever it comes up first", () => {
    const { labels, targets } = tableOf({ a: 0 }, { b: "x" }, {}, { a: 1, b: "y" }, { a: null, b: ["x"] });
    expect(labels.map(({ name }) => name)).toEqual(["a", "b"]);
    expect([...targets]).toEqual([-1, NaN, NaN, 0, NaN, NaN, 1, 1, NaN, NaN]);
  });

  test("takes the object attributes alone where there is one, and not what names the image", () => {
    const { labels } = tableOf({ index: 1, attributes: { hat: "cap" } }, { index: 2, attributes: { hat: "none" } });
    expect(labels.map(({ name }) => name)).toEqual(["hat"]);
    expect(tableOf({ attributes: "a", x: 1 }, { attributes: "b", x: 2 }).labels).toHaveLength(2);
  });

  test("leaves out what tells nothing, and what names the image", () => {
    const rows = Array.from({ length: 66 }, (_, i) => ({ id: `face ${i}`, kind: "face", size: 3, lit: i % 2 === 0 }));
    const { labels, leftOut } = tableOf(...rows);
    expect(labels.map(({ name }) => name)).toEqual(["lit"]);
    expect({ ...leftOut }).toEqual({
      id: "it has more than 64 classes",
      kind: 'it is "face" in all images',
      size: "it is 3 in all images",
    });
    expect(tableOf(...rows.slice(0, 64)).labels.map(({ name }) => name)).toEqual(["id", "lit"]);
  });

  test("keeps to numbers that can be told apart, however large", () => {
    const { targets } = tableOf({ x: -Number.MAX_VALUE }, { x: Number.MAX_VALUE }, { x: 0 });
    expect([...targets]).toEqual([-1, 1, 0]);
  });

  test("takes names that objects have by themselves as names", () => {
    const { labels } = tableOf('{"__proto__": "a", "constructor": 1}', '{"__proto__": "b", "constructor": 2}');
    expect(labels.map(({ name }) => name)).toEqual(["__proto__", "constructor"]);
  });

  test.each([
    ["no JSON", "{", "image 0 are no JSON"],
    ["no object", "[1]", "image 0 are no object of names and values"],
    ["nothing", "null", "no object of names and values"],
    ["too much", `{"a": "${"x".repeat(65536)}"}`, "65545 characters, expected 65536 at most"],
    ["a name too long", { ["n".repeat(65)]: 1 }, "has 65 characters, expected 1 to 64"],
    ["an empty name", { "": 1 }, "has 0 characters, expected 1 to 64"],
    [
      "too many",
      Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`a${i}`, 1])),
      'more than 64, among them "a64"',
    ],
  ])("refuses %s", (_, row, message) => {
    expect(() => tableOf(row)).toThrow(DataError);
    expect(() => tableOf(row)).toThrow(message);
  });

  test("refuses an attribute that changes its kind", () => {
    expect(() => tableOf({ age: 3 }, { age: "old" })).toThrow(
      'Cannot learn attribute "age": in image 1 it is no number, unlike before',
    );
  });

  test("tells long classes apart by their start alone, and shortens their names", () => {
    const { labels } = tableOf({ a: "x".repeat(70) }, { a: "y" });
    expect(labels[0]).toMatchObject({ values: [`${"x".repeat(63)}…`, "y"] });
  });
});

import { isNormal, isSmallBeside, productOf, scaledBy } from "./scale.js";
import * as t from "./testing.js";

describe("scaledBy()", () => {
  test("finds the number in products, quotients and changes of sign", () => {
    const x = t.input("x", [2]);
    expect(scaledBy(t.mul(x, t.scalar(3)))).toEqual({ x, factor: 3 });
    expect(scaledBy(t.mul(t.scalar(3), x))).toEqual({ x, factor: 3 });
    expect(scaledBy(t.div(x, t.scalar(3)))).toEqual({ x, factor: 1 / 3 });
    expect(scaledBy(t.unary("neg", x))).toEqual({ x, factor: -1 });
  });

  test("finds none in quotients of a number or of whole numbers, nor in products with more than a number", () => {
    const [x, n] = [t.input("x", [2]), t.input("n", [2], "int32")];
    for (const node of [
      t.div(t.scalar(3), x),
      t.div(n, t.scalar(3, "int32")),
      t.mul(x, t.constant([3, 3])),
      t.add(x, t.scalar(3)),
      x,
    ])
      expect(scaledBy(node)).toBeUndefined();
  });
});

describe("productOf()", () => {
  test("is nothing where float32 would lose digits", () => {
    expect(productOf(1e20, 1e18, "float32")).toBe(1e38);
    for (const [a, b] of [
      [1e20, 1e20],
      [1e-20, 1e-20],
      [0, 1],
      [NaN, 1],
      [Infinity, 1],
    ] as const)
      expect(productOf(a, b, "float32")).toBeUndefined();
  });

  test("wraps whole numbers", () => {
    expect(productOf(2 ** 30, 6, "int32")).toBe(Math.imul(2 ** 30, 6));
  });
});

describe("isNormal()", () => {
  test("holds from the least normal number to the largest", () => {
    expect([2 ** -126, -1, 3.4e38].map(isNormal)).toEqual([true, true, true]);
    expect([2 ** -127, 0, 3.5e38, NaN].map(isNormal)).toEqual([false, false, false, false]);
  });
});

describe("isSmallBeside()", () => {
  test("holds up to a quarter", () => {
    const large = t.input("large", [4, 4]);
    expect(isSmallBeside(t.input("a", [4]), large)).toBe(true);
    expect(isSmallBeside(t.input("b", [5]), large)).toBe(false);
  });
});

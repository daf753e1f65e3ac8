import { toFloat32 } from "./convert.js";
import { notFinite, notFiniteIn } from "./finite.js";

describe("notFinite()", () => {
  test("finds one bad element at any place of any length", () => {
    for (const value of [NaN, Infinity, -Infinity])
      for (let length = 1; length <= 13; length++)
        for (let at = 0; at < length; at++)
          for (const data of [new Float32Array(length).fill(1), new Float64Array(length).fill(1)]) {
            data[at] = value;
            expect(notFinite(data)).toBe(`1 of ${length} elements, the first is ${value} at index ${at}`);
          }
  });

  test("counts all of them, infinities that cancel each other too", () => {
    const data = Float32Array.of(1, Infinity, 2, 3, -Infinity, 4, 5, NaN, 6);
    expect(notFinite(data)).toBe("3 of 9 elements, the first is Infinity at index 1");
    expect(notFinite(data.subarray(2, 7))).toBe("1 of 5 elements, the first is -Infinity at index 2");
  });

  test("has nothing against the largest numbers, the smallest ones and none", () => {
    const [largest, smallest] = [2 ** 127 * (2 - 2 ** -23), 2 ** -149];
    expect(notFinite(Float32Array.of(largest, largest, -0, smallest, -largest))).toBeUndefined();
    expect(notFinite(new Float64Array(9).fill(Number.MAX_VALUE))).toBeUndefined(); // their sum is infinite
    expect(notFinite(new Float32Array(0))).toBeUndefined();
  });
});

describe("notFiniteIn()", () => {
  test("says of every number of half precision what its value says", () => {
    for (const dtype of ["float16", "bfloat16"] as const)
      for (let bits = 0; bits < 65536; bits++) {
        const tensor = { dtype, shape: [1], data: Uint16Array.of(bits) };
        if (notFiniteIn(tensor) !== notFinite(toFloat32(tensor))) throw new Error(`${dtype} ${bits.toString(16)}`);
      }
    const two = { dtype: "bfloat16", shape: [3], data: Uint16Array.of(0x3f80, 0x7f80, 0xffc0) } as const;
    expect(notFiniteIn(two)).toBe("2 of 3 elements, the first is Infinity at index 1");
  });

  test("looks at wider floats, and takes integers as they are", () => {
    expect(notFiniteIn({ dtype: "float64", shape: [2], data: Float64Array.of(1, NaN) })).toMatch(/NaN at index 1/);
    expect(notFiniteIn({ dtype: "float32", shape: [1], data: Float32Array.of(Infinity) })).toMatch(
      /Infinity at index 0/,
    );
    expect(notFiniteIn({ dtype: "uint16", shape: [1], data: Uint16Array.of(0x7f80) })).toBeUndefined();
  });
});

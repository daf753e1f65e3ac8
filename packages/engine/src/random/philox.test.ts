import fc from "fast-check";
import { philox4x32 } from "./philox.js";

const word = fc.nat({ max: 0xffffffff });

/** Philox 4x32 once more, in the words of the paper and in integers that cannot overflow. */
function slowPhilox(counter: readonly number[], key: readonly number[], rounds: number): number[] {
  const mask = 0xffffffffn;
  let [c0, c1, c2, c3] = counter.map(BigInt) as [bigint, bigint, bigint, bigint];
  let [k0, k1] = key.map(BigInt) as [bigint, bigint];
  for (let round = 0; round < rounds; round++) {
    const product0 = 0xd2511f53n * c0;
    const product1 = 0xcd9e8d57n * c2;
    [c0, c1, c2, c3] = [(product1 >> 32n) ^ c1 ^ k0, product1 & mask, (product0 >> 32n) ^ c3 ^ k1, product0 & mask];
    [k0, k1] = [(k0 + 0x9e3779b9n) & mask, (k1 + 0xbb67ae85n) & mask];
  }
  return [c0, c1, c2, c3].map(Number);
}

describe("philox4x32()", () => {
  // Random123's tests/kat_vectors: rounds, counter, key, expected. The third counter and key are digits of pi.
  test.each([
    [7, "00000000 00000000 00000000 00000000", "00000000 00000000", "5f6fb709 0d893f64 4f121f81 4f730a48"],
    [7, "ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "5207ddc2 45165e59 4d8ee751 8c52f662"],
    [7, "243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "4dfccaba 190a87f0 c47362ba b6b5242a"],
    [10, "00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"],
    [10, "ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"],
    [10, "243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"],
  ])("gives the known answer after %i rounds for the counter %s and the key %s", (rounds, counter, key, expected) => {
    const parse = (text: string) => text.split(" ").map((digits) => parseInt(digits, 16));
    const [k0, k1] = parse(key) as [number, number];
    const words = new Uint32Array(4);
    philox4x32(words, Uint32Array.from(parse(counter)), [k0, k1], rounds);
    expect([...words]).toEqual(parse(expected));
  });

  test("takes 10 rounds unless told otherwise", () => {
    const words = new Uint32Array(4);
    philox4x32(words, [0, 0, 0, 0], [0, 0]);
    expect(words[0]).toBe(0x6627e8d5);
  });

  test("equals a slow one for any counter, key and number of rounds", () => {
    fc.assert(
      fc.property(
        fc.tuple(word, word, word, word),
        fc.tuple(word, word),
        fc.nat({ max: 12 }),
        (counter, key, rounds) => {
          const words = new Uint32Array(4);
          philox4x32(words, counter, key, rounds);
          expect([...words]).toEqual(slowPhilox(counter, key, rounds));
        },
      ),
    );
  });

  test("equals a slow one for 30,000 blocks, in which every carry of a product happens", () => {
    const words = new Uint32Array(4 * 30_000); // a carry that hangs on one bit alone happens once in 2^16 products
    philox4x32(words, [0, 0, 0, 0], [1, 2]);
    const wrong = Array.from({ length: 30_000 }, (_, block) => block).filter((block) =>
      slowPhilox([block, 0, 0, 0], [1, 2], 10).some((word, i) => word !== words[4 * block + i]),
    );
    expect(wrong).toEqual([]);
  });

  test("counts blocks upwards and carries from the first word into the second", () => {
    const words = new Uint32Array(12);
    philox4x32(words, [0xfffffffe, 0xffffffff, 5, 6], [7, 8]);
    expect([...words]).toEqual([
      ...slowPhilox([0xfffffffe, 0xffffffff, 5, 6], [7, 8], 10),
      ...slowPhilox([0xffffffff, 0xffffffff, 5, 6], [7, 8], 10),
      ...slowPhilox([0, 0, 5, 6], [7, 8], 10),
    ]);
  });

  test("may overwrite its own counter", () => {
    const state = Uint32Array.of(1, 2, 3, 4);
    philox4x32(state, state, [5, 6]);
    expect([...state]).toEqual(slowPhilox([1, 2, 3, 4], [5, 6], 10));
  });
});

import { randomKey } from "./key.js";
import { boxMuller, normal } from "./normal.js";

const LAST = 2 ** 32 - 1;

// Exact arithmetic to compare with: fixed-point numbers with 160 bits behind the point, functions by Taylor series.
const ONE = 1n << 160n;
const TURN = (0x6487ed5110b4611a62633145c06e0e68948127n * ONE) >> 148n; // 2π
const LN_2 = 2n * artanh(ONE / 3n);

function artanh(z: bigint): bigint {
  let sum = 0n;
  for (let power = z, k = 1n; power !== 0n; k += 2n, power = (((power * z) / ONE) * z) / ONE) sum += power / k;
  return sum;
}

/** x^first / first! - x^(first + 2) / (first + 2)! + ...: the cosine from 0, the sine from 1. */
function alternating(x: bigint, first: 0n | 1n): bigint {
  let sum = 0n;
  for (let term = first === 0n ? ONE : x, k = first; term !== 0n; k += 2n) {
    sum += term;
    term = -((((term * x) / ONE) * x) / ONE) / ((k + 1n) * (k + 2n));
  }
  return sum;
}

/** sqrt(-2 ln((word + 1/2) / 2^32)), good to 80 bits. */
function exactRadius(word: number): bigint {
  const odd = 2n * BigInt(word) + 1n; // u = odd / 2^33
  const bits = odd.toString(2).length;
  const mantissa = (odd * ONE) >> BigInt(bits); // [1/2, 1)
  const square = -2n * (2n * artanh(((mantissa - ONE) * ONE) / (mantissa + ONE)) + BigInt(bits - 33) * LN_2);
  let root = ONE << 3n;
  for (let previous = root + 1n; root < previous;) {
    [previous, root] = [root, (root + (square * ONE) / root) / 2n]; // Newton
  }
  return root;
}

const SQRT_2 = 0xb504f333; // where the mantissa of the logarithm wraps, for every number of bits
const around = (word: number) => [-1, 0, 1].map((d) => (word + d + 2 ** 32) % 2 ** 32);
const radiusWords = [
  ...Array.from({ length: 32 }, (_, bit) => [...around(2 ** bit), ...around(SQRT_2 >>> bit)]).flat(),
  ...Array.from({ length: 64 }, (_, i) => 2 ** 31 + i * 2 ** 25), // mantissas all over
];
const angleWords = Array.from({ length: 16 }, (_, sixteenth) => around(sixteenth * 2 ** 28)).flat();

describe("boxMuller()", () => {
  test("is exact to 4e-16 of the radius before it rounds, at every edge of its series", () => {
    const values = new Float64Array(2) as unknown as Float32Array; // shows the double
    const toNumber = (x: bigint) => Number(x >> 60n) * 2 ** -100;
    const angles = angleWords.map((word) => {
      const angle = (TURN * (2n * BigInt(word) + 1n)) >> 33n;
      return { word, cosine: alternating(angle, 0n), sine: alternating(angle, 1n) };
    });
    let worst = 0;
    for (const word0 of radiusWords) {
      const radius = exactRadius(word0);
      for (const { word, cosine, sine } of angles) {
        boxMuller(Uint32Array.of(word0, word), values);
        const errors = [values[0]! - toNumber((radius * cosine) / ONE), values[1]! - toNumber((radius * sine) / ONE)];
        worst = Math.max(worst, ...errors.map((error) => Math.abs(error) / toNumber(radius)));
      }
    }
    expect(worst).toBeLessThan(4e-16);
  });

  test("ends at 6.7637 and is never 0", () => {
    const values = new Float32Array(4);
    boxMuller(Uint32Array.of(0, 0, LAST, 0), values);
    expect(values[0]).toBe(Math.fround(Math.sqrt(66 * Math.LN2)));
    expect(values[2]).toBeCloseTo(Math.sqrt(2 ** -32), 12);
    expect(Math.abs(values[3]!)).toBeGreaterThan(0);
  });
});

describe("normal()", () => {
  test("is finite and at most 6.7638 in a million draws", () => {
    const values = normal(randomKey(1, "normal"), { size: 1_000_000 });
    expect(values.every((x) => Number.isFinite(x) && Math.abs(x) <= 6.7638)).toBe(true);
  });
});

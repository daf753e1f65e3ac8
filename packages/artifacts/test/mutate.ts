/** Damages files at random, always in the same way for the same seed. */

/** Numbers in [0, 1): Mulberry32. */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let x = Math.imul(state ^ (state >>> 15), state | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  };
}

const EXTREMES = [0n, 1n, 0x7fn, 0x80n, 0xffn, 0x7fffn, 0xffffn, 0x7fffffffn, 0x80000000n, 0xffffffffn];
const EXTREMES_64 = [...EXTREMES, 2n ** 32n, 2n ** 53n, 2n ** 62n, 2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n];

/** A copy of one of the files with one to four kinds of damage. */
export function mutate(files: readonly Uint8Array[], next: () => number): Uint8Array {
  const below = (limit: number): number => Math.floor(next() * limit);
  const pick = <T>(items: readonly T[]): T => items[below(items.length)] as T;
  let bytes: Buffer = Buffer.from(pick(files));
  for (let rounds = 1 + below(4); rounds > 0; rounds--) {
    const at = below(bytes.length + 1);
    const length = below(Math.min(64, bytes.length - at) + 1);
    const [before, middle, after] = [
      bytes.subarray(0, at),
      bytes.subarray(at, at + length),
      bytes.subarray(at + length),
    ];
    switch (below(9)) {
      case 0: // bits
        for (let k = below(8); k >= 0 && bytes.length; k--) {
          const index = below(bytes.length);
          bytes[index] = (bytes[index] ?? 0) ^ (1 << below(8));
        }
        break;
      case 1: // a byte
        if (at < bytes.length) bytes[at] = below(256);
        break;
      case 2: // truncation
        bytes = before;
        break;
      case 3: // a piece of another file
        bytes = Buffer.concat([
          before,
          Buffer.from(pick(files)).subarray(at, at + length),
          next() < 0.5 ? after : bytes.subarray(at),
        ]);
        break;
      case 4: // a piece twice
        bytes = Buffer.concat([before, middle, middle, after]);
        break;
      case 5: // a piece less
        bytes = Buffer.concat([before, after]);
        break;
      case 6: // a field of 4 bytes
        if (at + 4 <= bytes.length) bytes.writeUInt32LE(Number(pick(EXTREMES)), at);
        break;
      case 7: // a field of 8 bytes
        if (at + 8 <= bytes.length) bytes.writeBigUInt64LE(pick(EXTREMES_64), at);
        break;
      default: {
        // a number in text
        const digit = [...bytes.entries()].slice(at, at + 200).find(([, byte]) => byte >= 0x30 && byte <= 0x39)?.[0];
        const number = pick(["-1", "0", "9".repeat(1 + below(20)), "1e9", "1.5", String(2 ** 31), "4"]);
        if (digit !== undefined)
          bytes = Buffer.concat([bytes.subarray(0, digit), Buffer.from(number), bytes.subarray(digit + 1)]);
      }
    }
  }
  return bytes;
}

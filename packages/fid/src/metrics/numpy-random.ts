const STATE_WORDS = 624;
const SHIFT = 397;

/**
 * NumPy's legacy generator, `numpy.random.RandomState(seed)`: other packages choose their subsets with it, and the same
 * subsets give the same numbers.
 *
 * Source: Matsumoto and Nishimura 1998, MT19937; NumPy's `RandomState.permutation` and `choice(replace=False)`, whose
 * streams are frozen (NEP 19).
 */
export class NumpyRandom {
  private readonly state = new Uint32Array(STATE_WORDS);
  private at = STATE_WORDS;

  /** @param seed 0 to 2³² - 1. */
  constructor(seed: number) {
    this.state[0] = seed;
    for (let i = 1; i < STATE_WORDS; i++) {
      const before = this.state[i - 1]!;
      this.state[i] = Math.imul(1812433253, before ^ (before >>> 30)) + i;
    }
  }

  /** A permutation of 0 to n - 1, n up to 2³². */
  permutation(n: number): Uint32Array {
    const order = Uint32Array.from({ length: n }, (_, i) => i);
    for (let i = n - 1; i > 0; i--) {
      const j = this.upTo(i);
      [order[i], order[j]] = [order[j]!, order[i]!];
    }
    return order;
  }

  /** So many of 0 to n - 1, each once. */
  choice(n: number, size: number): Uint32Array {
    return this.permutation(n).subarray(0, size);
  }

  /** A whole number from 0 to `most`: words under a mask of ones, until one fits. */
  private upTo(most: number): number {
    const mask = 2 ** (32 - Math.clz32(most)) - 1;
    for (;;) {
      const value = (this.next() & mask) >>> 0;
      if (value <= most) return value;
    }
  }

  private next(): number {
    if (this.at === STATE_WORDS) this.twist();
    let y = this.state[this.at++]!;
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  }

  private twist(): void {
    const { state } = this;
    for (let i = 0; i < STATE_WORDS; i++) {
      const y = (state[i]! & 0x80000000) | (state[(i + 1) % STATE_WORDS]! & 0x7fffffff);
      state[i] = state[(i + SHIFT) % STATE_WORDS]! ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
    }
    this.at = 0;
  }
}

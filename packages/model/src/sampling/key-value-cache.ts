/** Keys and values of one layer, (N·H, L, D) each. */
export interface KeyValues {
  readonly k: Float32Array;
  readonly v: Float32Array;
}

/**
 * Keys and values of finished blocks, by layer, for the blocks that come. They lie as programs take them: (N·H, capacity, D),
 * the first tokens filled and the others zero.
 */
export class KeyValueCache {
  private readonly layers = new Map<number, { k: Float32Array; v: Float32Array; capacity: number; filled: number }>();

  /**
   * @param heads N · H: heads of all images.
   * @param width D.
   * @param room Tokens that every layer has room for from the start; more is made when it is needed.
   */
  constructor(
    private readonly heads: number,
    private readonly width: number,
    private readonly room = 0,
  ) {}

  /**
   * Appends the tokens of a block to a layer.
   *
   * @param own (heads, M, D) each.
   */
  append(layer: number, own: KeyValues): void {
    const tokens = own.k.length / (this.heads * this.width);
    const entry = this.entry(layer);
    const end = entry.filled + tokens;
    const capacity = Math.max(entry.capacity, end);
    for (const name of ["k", "v"] as const) {
      if (capacity > entry.capacity) {
        const wider = new Float32Array(this.heads * capacity * this.width);
        this.copyRows(entry[name], entry.capacity, wider, capacity, 0);
        entry[name] = wider;
      }
      this.copyRows(own[name], tokens, entry[name], capacity, entry.filled);
    }
    entry.capacity = capacity;
    entry.filled = end;
  }

  /** What a layer holds: (heads, capacity, D) each. Borrowed; changes with the next append. */
  read(layer: number): KeyValues {
    return this.entry(layer);
  }

  private entry(layer: number) {
    let entry = this.layers.get(layer);
    if (!entry) {
      const size = this.heads * this.room * this.width;
      entry = { k: new Float32Array(size), v: new Float32Array(size), capacity: this.room, filled: 0 };
      this.layers.set(layer, entry);
    }
    return entry;
  }

  /** Copies (heads, tokens, D) into (heads, capacity, D) from token `start` on. */
  private copyRows(from: Float32Array, tokens: number, to: Float32Array, capacity: number, start: number): void {
    const size = tokens * this.width;
    for (let head = 0; head < this.heads; head++)
      to.set(from.subarray(head * size, (head + 1) * size), (head * capacity + start) * this.width);
  }
}

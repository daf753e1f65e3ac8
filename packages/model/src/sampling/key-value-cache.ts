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
  private readonly layers = new Map<number, { k: Float32Array; v: Float32Array }>();
  private readonly filled = new Map<number, number>();
  private capacity = 0;

  /**
   * @param heads N · H: heads of all images.
   * @param width D.
   */
  constructor(
    private readonly heads: number,
    private readonly width: number,
  ) {}

  /** Makes room for this many tokens in every layer; what is there stays. */
  reserve(capacity: number): void {
    if (capacity <= this.capacity) return;
    for (const entry of this.layers.values())
      for (const name of ["k", "v"] as const) {
        const wider = new Float32Array(this.heads * capacity * this.width);
        this.copyRows(entry[name], this.capacity, wider, capacity, 0);
        entry[name] = wider;
      }
    this.capacity = capacity;
  }

  /**
   * Appends the tokens of a block to a layer.
   *
   * @param own (heads, M, D) each.
   */
  append(layer: number, own: KeyValues): void {
    const tokens = own.k.length / (this.heads * this.width);
    const start = this.filled.get(layer) ?? 0;
    if (start + tokens > this.capacity) this.reserve(start + tokens);
    const entry = this.read(layer);
    for (const name of ["k", "v"] as const) this.copyRows(own[name], tokens, entry[name], this.capacity, start);
    this.filled.set(layer, start + tokens);
  }

  /** What a layer holds: (heads, capacity, D) each. Borrowed; changes with the next append. */
  read(layer: number): KeyValues {
    let entry = this.layers.get(layer);
    const size = this.heads * this.capacity * this.width;
    if (!entry) this.layers.set(layer, (entry = { k: new Float32Array(size), v: new Float32Array(size) }));
    return entry;
  }

  /** Copies (heads, tokens, D) into (heads, capacity, D) from token `start` on. */
  private copyRows(from: Float32Array, tokens: number, to: Float32Array, capacity: number, start: number): void {
    const size = tokens * this.width;
    for (let head = 0; head < this.heads; head++)
      to.set(from.subarray(head * size, (head + 1) * size), (head * capacity + start) * this.width);
  }
}

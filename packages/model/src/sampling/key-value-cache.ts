import type { Handle } from "@madformer/engine";

/** A tensor of the host, or one where the engine has it. */
export type Held = Handle | Float32Array;

/** Keys and values by layer, (N·H, L, D) each. */
export interface KeyValues {
  readonly keys: Readonly<Record<string, Held>>;
  readonly values: Readonly<Record<string, Held>>;
}

/**
 * Appends a block's tokens to what some layers hold.
 *
 * @param before What they hold. Borrowed.
 * @param own The block's, (N·H, M, D) each. Borrowed, unless it is what is returned.
 * @param blocks Blocks that they hold; `before` may be without layers where it is none.
 */
export type Append = (before: KeyValues, own: KeyValues, blocks: number) => Promise<KeyValues>;

/**
 * Keys and values of finished blocks, by layer, for the blocks that come. They lie where the engine has them, as
 * programs take them: (N·H, tokens, D).
 */
export class KeyValueCache implements Disposable {
  private readonly layers = new Map<string, { readonly k: Held; readonly v: Held; readonly blocks: number }>();

  /** @param empty What a layer holds before the first block, for programs that take it all the same. */
  constructor(
    private readonly append: Append,
    private readonly empty?: Float32Array,
  ) {}

  /**
   * Appends the tokens of a block to some layers, which hold equally many.
   *
   * @param own (N·H, M, D) each. The cache's from now on.
   */
  async add(own: KeyValues): Promise<void> {
    const numbers = Object.keys(own.keys);
    if (numbers.length === 0) return;
    const [blocks = 0, ...others] = new Set(numbers.map((layer) => this.layers.get(layer)?.blocks ?? 0));
    if (others.length > 0)
      throw new RangeError(
        `Cannot append to layers ${numbers.join(", ")}: they hold ${[blocks, ...others].join(", ")} blocks`,
      );
    const made = await this.append(this.read(numbers), own, blocks);
    if (made !== own) disposeAll(...Object.values(own.keys), ...Object.values(own.values));
    for (const layer of numbers) {
      const held = this.layers.get(layer);
      if (held) disposeAll(held.k, held.v);
      this.layers.set(layer, { k: made.keys[layer] as Held, v: made.values[layer] as Held, blocks: blocks + 1 });
    }
  }

  /** What some layers hold. Borrowed, until the next block is added. */
  read(layers: readonly string[]): KeyValues {
    const part = (name: "k" | "v"): Record<string, Held> =>
      Object.fromEntries(
        layers.flatMap((layer) => {
          const held = this.layers.get(layer)?.[name] ?? this.empty;
          return held ? [[layer, held]] : [];
        }),
      );
    return { keys: part("k"), values: part("v") };
  }

  [Symbol.dispose](): void {
    for (const { k, v } of this.layers.values()) disposeAll(k, v);
    this.layers.clear();
  }
}

/** Lets go of what the engine has. */
export function disposeAll(...tensors: readonly Held[]): void {
  for (const tensor of tensors) if (!ArrayBuffer.isView(tensor)) tensor.dispose();
}

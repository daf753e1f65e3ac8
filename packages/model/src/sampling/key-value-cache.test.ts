import type { Handle } from "@madformer/engine";
import { KeyValueCache, type Append, type Held } from "./key-value-cache.js";

/** A tensor where an engine has it, as far as a cache knows one, and whether it was let go. */
class Tensor implements Handle {
  readonly engine = "test";
  readonly dtype = "float32";
  readonly shape = [];
  static readonly alive = new Set<string>();

  constructor(readonly name: string) {
    Tensor.alive.add(name);
  }

  read = (): Promise<Float32Array> => Promise.reject(new Error("a cache reads nothing"));

  dispose(): void {
    Tensor.alive.delete(this.name);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

const names = (part: Readonly<Record<string, Held>>): Record<string, string> =>
  Object.fromEntries(
    Object.entries(part).map(([layer, tensor]) => [layer, ArrayBuffer.isView(tensor) ? "array" : tensor.name]),
  );

/** A block's own keys and values of some layers. */
const own = (block: string, ...layers: number[]) => ({
  keys: Object.fromEntries(layers.map((layer) => [layer, new Tensor(`k${layer}${block}`)])),
  values: Object.fromEntries(layers.map((layer) => [layer, new Tensor(`v${layer}${block}`)])),
});

/** Joins names. */
const append: Append = async (before, own, blocks) => {
  if (blocks === 0 && Object.keys(before.keys).length === 0) return own;
  const join = (part: "keys" | "values") => {
    const [held, added] = [names(before[part]), names(own[part])];
    return Object.fromEntries(
      Object.entries(added).map(([layer, name]) => [layer, new Tensor(`${held[layer]}+${name}`)]),
    );
  };
  return { keys: join("keys"), values: join("values") };
};

beforeEach(() => Tensor.alive.clear());

describe("KeyValueCache", () => {
  test("holds what each block adds to each layer, and lets go of all else", async () => {
    using cache = new KeyValueCache(append);
    await cache.add(own("a", 0, 1));
    await cache.add(own("b", 0, 1));
    await cache.add(own("c", 0));
    const { keys, values } = cache.read(["0", "1"]);
    expect(names(keys)).toEqual({ 0: "k0a+k0b+k0c", 1: "k1a+k1b" });
    expect(names(values)).toEqual({ 0: "v0a+v0b+v0c", 1: "v1a+v1b" });
    expect(Tensor.alive).toEqual(new Set([...Object.values(names(keys)), ...Object.values(names(values))]));
  });

  test("lets go of everything at its end", async () => {
    {
      using cache = new KeyValueCache(append);
      await cache.add(own("a", 0, 1));
      await cache.add(own("b", 0, 1));
    }
    expect(Tensor.alive.size).toBe(0);
  });

  test("reads layers without blocks as empty, or not at all", () => {
    expect(new KeyValueCache(append).read(["0"])).toEqual({ keys: {}, values: {} });
    const empty = new Float32Array(4);
    expect(new KeyValueCache(append, empty).read(["0"])).toEqual({ keys: { 0: empty }, values: { 0: empty } });
  });

  test("does nothing where a block leaves nothing, and refuses layers that do not hold the same blocks", async () => {
    using cache = new KeyValueCache(append);
    await cache.add({ keys: {}, values: {} });
    await cache.add(own("a", 0));
    await expect(cache.add(own("b", 0, 1))).rejects.toThrow(
      new RangeError("Cannot append to layers 0, 1: they hold 1, 0 blocks"),
    );
  });
});

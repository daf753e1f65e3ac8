import { KeyValueCache } from "./key-value-cache.js";

const [HEADS, WIDTH] = [2, 3];
/** (heads, tokens, width): 100 · head + 10 · token + dimension, and some. */
const tensor = (tokens: number, first: number): Float32Array =>
  Float32Array.from({ length: HEADS * tokens * WIDTH }, (_, i) => {
    const [d, token, head] = [i % WIDTH, Math.floor(i / WIDTH) % tokens, Math.floor(i / WIDTH / tokens)];
    return 1000 + 100 * head + 10 * (first + token) + d;
  });

describe("KeyValueCache", () => {
  test("grows with each append, head by head", () => {
    const cache = new KeyValueCache(HEADS, WIDTH);
    expect(cache.read(0).k).toHaveLength(0);
    cache.append(0, { k: tensor(2, 0), v: tensor(2, 5) });
    expect(cache.read(0)).toMatchObject({ k: tensor(2, 0), v: tensor(2, 5) });
    cache.append(0, { k: tensor(3, 2), v: tensor(3, 7) });
    expect(cache.read(0)).toMatchObject({ k: tensor(5, 0), v: tensor(5, 5) });
  });

  test("fills the room that it has, and the rest is zero", () => {
    const cache = new KeyValueCache(HEADS, WIDTH, 4);
    const at = (head: number, token: number): number => (head * 4 + token) * WIDTH;
    cache.append(1, { k: tensor(1, 0), v: tensor(1, 0) });
    const { k } = cache.read(1);
    expect(k).toHaveLength(HEADS * 4 * WIDTH);
    expect([...k.subarray(at(1, 0), at(1, 1))]).toEqual([1100, 1101, 1102]);
    expect([...k.subarray(at(1, 1), at(1, 4))].every((x) => x === 0)).toBe(true);
    cache.append(1, { k: tensor(3, 1), v: tensor(3, 1) });
    expect(cache.read(1).k).toEqual(tensor(4, 0));
    expect(cache.read(1).k).toBe(k); // in place
  });

  test("makes room beyond what it had, and keeps every head's tokens", () => {
    const cache = new KeyValueCache(HEADS, WIDTH, 3);
    cache.append(0, { k: tensor(2, 0), v: tensor(2, 0) });
    cache.append(0, { k: tensor(2, 2), v: tensor(2, 2) });
    expect(cache.read(0)).toMatchObject({ k: tensor(4, 0), v: tensor(4, 0) });
  });

  test("keeps layers apart", () => {
    const cache = new KeyValueCache(HEADS, WIDTH, 2);
    cache.append(3, { k: tensor(2, 0), v: tensor(2, 1) });
    expect(cache.read(4).k.every((x) => x === 0)).toBe(true);
    expect(cache.read(3).v).toEqual(tensor(2, 1));
  });

  test("copies what it is given", () => {
    const cache = new KeyValueCache(HEADS, WIDTH);
    const k = tensor(1, 0);
    cache.append(0, { k, v: k });
    k.fill(0);
    expect(cache.read(0).k).toEqual(tensor(1, 0));
  });
});

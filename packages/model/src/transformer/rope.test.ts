import { geometryOf } from "../config.js";
import { QUIRKS, type Quirks } from "../quirks.js";
import { differenceOf, draw, expectClose, runOnce, tiny, TOLERANCE } from "../testing.js";
import { ropeAngles, ropeBase, ropeOfBlocks, ropeTables, rotate, tokenPositions } from "./rope.js";

test("tokenPositions() go through the blocks row by row, and inside a block row by row", () => {
  const { rows, columns } = tokenPositions(tiny());
  expect([...rows]).toEqual([0, 0, 1, 1, 0, 0, 1, 1, 2, 2, 3, 3, 2, 2, 3, 3]);
  expect([...columns]).toEqual([0, 1, 0, 1, 2, 3, 2, 3, 0, 1, 0, 1, 2, 3, 2, 3]);
});

test.each([
  [4, 100],
  [39, 100], // 8 · 39 / π is 99.3
  [40, 200],
  [64, 200],
  [128, 400],
])("ropeBase() of %d positions is %d", (length, base) => expect(ropeBase(length)).toBe(base));

describe("ropeAngles()", () => {
  test("has the reference's exponents, 0 to 1 inclusive", () => {
    const angles = ropeAngles(4, 6, "inclusive"); // three frequencies, base 100: 1, 1/10, 1/100
    expectClose(angles.slice(18), [3, 0.3, 0.03, 3, 0.3, 0.03], 1e-6);
    expect(ropeAngles(4, 2, "inclusive").slice(2, 4)).toEqual(Float32Array.of(1, 1)); // a single one is 1
  });

  test("has the usual exponents, below 1, by the other setting", () => {
    const angles = ropeAngles(4, 4, "exclusive"); // two frequencies, base 100: 1, 1/10
    expectClose(angles.slice(4, 12), [1, 0.1, 1, 0.1, 2, 0.2, 2, 0.2], 1e-6);
    expectClose(ropeAngles(2, 6, "exclusive").slice(6, 9), [1, 100 ** (-1 / 3), 100 ** (-2 / 3)], 1e-6);
  });
});

describe("rotate()", () => {
  const D = 12;
  const configOf = (quirks: Partial<Quirks>) => tiny({ width: 36, heads: 3, quirks: { ...QUIRKS.sound, ...quirks } });
  const config = configOf({});
  const { T, M, grid, tokenSide } = geometryOf(config);
  const side = grid * tokenSide;
  /** The same vector at every position. */
  const everywhere = (name: string) => {
    const vector = draw(name, D).data;
    return { shape: [1, T * M, D], data: Float32Array.from({ length: T * M * D }, (_, i) => vector[i % D]!) };
  };
  const rotated = async (name: string, quirks: Partial<Quirks>) => {
    const { y } = await runOnce({ x: everywhere(name) }, ({ x }) => ({ y: rotate(x, ropeTables(configOf(quirks))) }));
    return Array.from({ length: T * M }, (_, token) => y.slice(token * D, (token + 1) * D));
  };
  const dot = (a: Float32Array, b: Float32Array): number => a.reduce((sum, x, i) => sum + x * b[i]!, 0);
  const { rows, columns } = tokenPositions(config);
  const tokenAt = (row: number, column: number): number =>
    rows.findIndex((r, token) => r === row && columns[token] === column);

  test("within an axis keeps norms, and scores depend on relative positions alone", async () => {
    const [q, k] = [await rotated("q", {}), await rotated("k", {})];
    const [norm] = [dot(q[0]!, q[0]!)];
    for (const vector of q) expect(Math.abs(dot(vector, vector) / norm - 1)).toBeLessThan(TOLERANCE.layer);
    const score = (from: [number, number], to: [number, number]): number =>
      dot(q[tokenAt(...from)]!, k[tokenAt(...to)]!);
    for (let row = 0; row + 1 < side; row++)
      for (let column = 0; column + 2 < side; column++)
        expect(Math.abs(score([row, column], [row + 1, column + 2]) - score([0, 0], [1, 2]))).toBeLessThan(2e-5);
    // It depends on the row and on the column.
    expect(Math.abs(score([0, 0], [1, 2]) - score([0, 0], [2, 2]))).toBeGreaterThan(1e-2);
    expect(Math.abs(score([0, 0], [1, 2]) - score([0, 0], [1, 1]))).toBeGreaterThan(1e-2);
  });

  test("across axes is a rotation only where row and column are equal", async () => {
    const q = await rotated("q", { ropePairs: "across-axes" });
    const norm = (row: number, column: number): number => dot(q[tokenAt(row, column)]!, q[tokenAt(row, column)]!);
    for (let i = 1; i < side; i++) expect(Math.abs(norm(i, i) / norm(0, 0) - 1)).toBeLessThan(TOLERANCE.layer);
    expect(Math.abs(norm(0, 3) / norm(0, 0) - 1)).toBeGreaterThan(1e-2);
  });

  test.each(["across-axes", "within-axis"] as const)("is the formula of the pairs (%s)", async (ropePairs) => {
    const quirks = { ropePairs, ropeExponents: "inclusive" } as const;
    const q = await rotated("q", quirks);
    const x = everywhere("q").data;
    const angles = ropeAngles(side, D / 2, "inclusive");
    for (let token = 0; token < T * M; token++) {
      const angle = (axis: "row" | "column", i: number): number =>
        angles[(axis === "row" ? rows : columns)[token]! * (D / 2) + i]!;
      const expected = Float32Array.from({ length: D }, (_, j) => {
        const axis = j < D / 2 ? "row" : "column";
        const a = angle(axis, j % (D / 2));
        if (ropePairs === "across-axes")
          return j < D / 2
            ? x[j]! * Math.cos(a) - x[j + D / 2]! * Math.sin(a)
            : x[j]! * Math.cos(a) + x[j - D / 2]! * Math.sin(a);
        return j % (D / 2) < D / 4
          ? x[j]! * Math.cos(a) - x[j + D / 4]! * Math.sin(a)
          : x[j]! * Math.cos(a) + x[j - D / 4]! * Math.sin(a);
      });
      expectClose(q[token]!, expected, TOLERANCE.layer, `token ${token}`);
    }
  });

  test("of some blocks is that part of all", async () => {
    const x = draw("x", 2, T * M, D);
    const part = { shape: [2, 2 * M, D], data: new Float32Array(2 * 2 * M * D) };
    for (const n of [0, 1]) part.data.set(x.data.subarray((n * T + 1) * M * D, (n * T + 3) * M * D), n * 2 * M * D);
    const { all, some } = await runOnce({ x, part }, ({ x, part }) => {
      const tables = ropeTables(config);
      return { all: rotate(x, tables), some: rotate(part, ropeOfBlocks(tables, M, 1, 3)) };
    });
    for (const n of [0, 1]) {
      const expected = all.subarray((n * T + 1) * M * D, (n * T + 3) * M * D);
      expect(differenceOf(some.subarray(n * 2 * M * D, (n + 1) * 2 * M * D), expected).by).toBeLessThan(1e-6);
    }
  });
});

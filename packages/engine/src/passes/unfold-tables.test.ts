import * as t from "./testing.js";
import { unfoldTables } from "./unfold-tables.js";

/** A table from its rows. */
const table = (...rows: readonly (readonly number[])[]) => t.constant(rows.flat(), [rows.length, rows[0]?.length ?? 0]);
const x = () => t.input("x", [3, 4]);

/** The halves change places, and the second, now the first, its sign: what turns queries and keys. */
const turn = [
  [0, 0, 1, 0],
  [0, 0, 0, 1],
  [-1, 0, 0, 0],
  [0, -1, 0, 0],
];

describe("unfoldTables()", () => {
  test("makes slices side by side of a product that moves columns", () => {
    for (const transposeB of [false, true])
      t.expectRewritten(t.graphOf(t.matmul(x(), table(...turn), { transposeB })), unfoldTables, {
        from: ["matmul"],
        to: ["slice", "neg", "slice", "concat"],
      });
    const wide = t.matmul(t.input("x", [2, 3, 2]), table([1, 0, 1], [0, 1, 0]), { alpha: 3 });
    t.expectRewritten(t.graphOf(wide), unfoldTables, { from: ["matmul"], to: ["slice", "concat", "mul"] });
  });

  test("leaves nothing of a product with the identity, and a sign of its negative", () => {
    const identity = table([1, 0], [0, 1]);
    const y = t.input("y", [3, 2]);
    t.expectRewritten(t.graphOf(t.unary("exp", t.matmul(y, identity))), unfoldTables, { from: ["matmul", "exp"], to: ["exp"] }); // prettier-ignore
    const negative = table([-1, 0], [0, -1]);
    t.expectRewritten(t.graphOf(t.matmul(y, negative)), unfoldTables, { from: ["matmul"], to: ["neg"] });
  });

  test("makes sums over groups of a product that averages", () => {
    const averages = table([0.25, 0.25, 0, 0], [0.25, 0.25, 0, 0], [0, 0, 0.25, 0.25], [0, 0, 0.25, 0.25]);
    const to = ["reshape", "reduce.sum", "mul", "broadcast", "reshape"];
    t.expectRewritten(t.graphOf(t.matmul(x(), averages)), unfoldTables, { from: ["matmul"], to });
    const scaled = t.matmul(x(), averages, { alpha: -0.5, transposeB: true });
    t.expectRewritten(t.graphOf(scaled), unfoldTables, { from: ["matmul"], to });
    const sums = t.matmul(x(), t.filled(1, [4, 4]));
    t.expectUntouched(t.graphOf(sums), unfoldTables); // a broadcast is no table
  });

  test("leaves other products alone", () => {
    const untouched = [
      t.matmul(x(), table([1, 0], [0, 1], [1, 0], [0, 0])), // two columns added up
      t.matmul(x(), table([1, 0], [0, 0], [0, 0], [0, 0])), // nothing in the second
      t.matmul(x(), table([1, 0], [0, 2], [0, 0], [0, 0])),
      t.matmul(x(), table([0.5, 0.5, 0, 0], [0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5], [0, 0, 0.5, 0.25])),
      t.matmul(x(), table([0.5, 0.5, 0, 0], [0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5], [0.1, 0, 0.5, 0.5])),
      t.matmul(x(), table([0.5, 0.5, 0.5, 0], [0.5, 0.5, 0.5, 0], [0.5, 0.5, 0.5, 0], [0, 0, 0, 0.5])),
      t.matmul(t.input("y", [4, 3]), table(...turn), { transposeA: true }),
      t.matmul(x(), t.input("w", [4, 4])),
    ];
    t.expectUntouched(t.graphOf(...untouched), unfoldTables);
  });

  test("does not take a table to many pieces", () => {
    const reversed = (size: number) =>
      Array.from({ length: size }, (_, i) => Array.from({ length: size }, (_, j) => Number(i + j === size - 1)));
    const product = (size: number) => t.matmul(t.input("x", [2, size]), table(...reversed(size)));
    t.expectUntouched(t.graphOf(product(9)), unfoldTables);
    t.expectRewritten(t.graphOf(product(8)), unfoldTables, { from: ["matmul"], to: [...new Array<string>(8).fill("slice"), "concat"] }); // prettier-ignore
  });
});

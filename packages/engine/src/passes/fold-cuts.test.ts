import { foldShapes } from "./fold-shapes.js";
import * as t from "./testing.js";

const x = () => t.input("x", [6, 4]);

describe("foldShapes(): slices", () => {
  test("of everything are nothing", () => {
    t.expectRewritten(t.graphOf(t.slice(x(), [0, 0], [6, 4])), foldShapes, { from: ["slice"], to: [] });
    const one = t.input("one", [1, 4]);
    t.expectRewritten(t.graphOf(t.slice(one, [0, 0], [1, 4], [-1, 1])), foldShapes, { from: ["slice"], to: [] });
    t.expectUntouched(t.graphOf(t.slice(x(), [5, 0], [6, 4], [-1, 1])), foldShapes);
  });

  test("of slices become one, whatever their steps", () => {
    const inner = t.slice(x(), [5, 1], [3, 3], [-2, 1]); // rows 5, 3, 1
    t.expectRewritten(t.graphOf(t.slice(inner, [2, 1], [2, 2], [-1, 1])), foldShapes, {
      from: ["slice", "slice"],
      to: ["slice"],
    });
    t.expectRewritten(t.graphOf(t.slice(t.slice(x(), [5, 0], [6, 4], [-1, 1]), [5, 0], [6, 4], [-1, 1])), foldShapes, {
      from: ["slice", "slice"],
      to: [],
    });
  });

  test("of a concat within one operand are slices of it", () => {
    const joined = t.concat(0, t.input("a", [2, 4]), x(), t.input("b", [1, 4]));
    const graph = t.graphOf(
      t.slice(joined, [0, 0], [2, 4]),
      t.slice(joined, [3, 1], [4, 2]),
      t.slice(joined, [8, 3], [1, 4], [1, -1]),
    );
    t.expectRewritten(graph, foldShapes, {
      from: ["concat", "slice", "slice", "slice"],
      to: ["slice", "slice"], // the first is the operand itself
    });
  });

  test("of several whole operands of a concat are their concat", () => {
    const joined = t.concat(0, t.input("a", [2, 4]), x(), t.input("b", [1, 4]));
    t.expectRewritten(t.graphOf(t.slice(joined, [2, 0], [7, 4])), foldShapes, {
      from: ["concat", "slice"],
      to: ["concat"],
    });
    t.expectUntouched(
      t.graphOf(
        t.slice(joined, [1, 0], [7, 4]), // a part of an operand
        t.slice(joined, [2, 1], [7, 2]), // a part of every operand
        t.slice(joined, [2, 3], [7, 4], [1, -1]), // all of them, turned round
        t.slice(joined, [0, 0], [4, 4], [2, 1]), // every other row
      ),
      foldShapes,
    );
  });

  test("of a padded tensor are slices of the tensor, padded less", () => {
    const padded = t.pad(x(), [2, 0], [3, 1], 7);
    t.expectRewritten(t.graphOf(t.slice(padded, [2, 0], [6, 4])), foldShapes, { from: ["pad", "slice"], to: [] });
    t.expectRewritten(t.graphOf(t.slice(padded, [3, 1], [2, 3])), foldShapes, {
      from: ["pad", "slice"],
      to: ["slice"],
    });
    const result = t.expectRewritten(t.graphOf(t.slice(padded, [1, 3], [4, 2])), foldShapes, {
      from: ["pad", "slice"],
      to: ["slice", "pad"],
    });
    expect(result.outputs[0]!.node.op).toMatchObject({ kind: "pad", before: [1, 0], after: [0, 1] });
    t.expectRewritten(t.graphOf(t.slice(padded, [8, 0], [2, 5])), foldShapes, {
      from: ["pad", "slice"],
      to: ["broadcast"],
    });
    t.expectRewritten(t.graphOf(t.slice(padded, [0, 0], [1, 2])), foldShapes, {
      from: ["pad", "slice"],
      to: ["broadcast"],
    });
    const rows = t.pad(x(), [2, 0], [3, 0]);
    t.expectRewritten(t.graphOf(t.slice(rows, [2, 3], [6, 2], [1, -2])), foldShapes, {
      from: ["pad", "slice"],
      to: ["slice"],
    });
    t.expectUntouched(t.graphOf(t.slice(padded, [10, 0], [6, 4], [-2, 1])), foldShapes);
  });

  test("of a padded tensor that others use as it is stay slices, if padding is in them", () => {
    const padded = t.pad(x(), [2, 0], [3, 1]);
    t.expectUntouched(t.graphOf(t.slice(padded, [1, 3], [4, 2]), padded), foldShapes);
    t.expectRewritten(t.graphOf(t.slice(padded, [3, 1], [2, 3]), padded), foldShapes, {
      from: ["pad", "slice"],
      to: ["pad", "slice"],
    });
  });

  test("see slices through a reshape that leaves their axes alone", () => {
    // A block of tokens of one part of qkv: (3, B, H, T, D) -> (B·H, T, D)
    const qkv = t.input("qkv", [3, 2, 2, 6, 4]);
    const q = t.reshape(t.slice(qkv, [1, 0, 0, 0, 0], [1, 2, 2, 6, 4]), [4, 6, 4]);
    const graph = t.graphOf(t.slice(q, [0, 2, 0], [4, 2, 4]), t.slice(q, [0, 4, 3], [4, 2, 1]));
    t.expectRewritten(graph, foldShapes, {
      from: ["slice", "reshape", "slice", "slice"],
      to: ["slice", "reshape", "slice", "reshape"],
    });
    // Here the sliced axis is one of two that were merged or split, or runs backwards, or there is nothing to join
    // with.
    const split = t.reshape(t.slice(x(), [0, 1], [6, 3]), [2, 3, 3]);
    t.expectUntouched(
      t.graphOf(t.slice(split, [0, 1, 0], [2, 2, 3]), t.slice(split, [1, 0, 0], [1, 3, 3])),
      foldShapes,
    );
    t.expectUntouched(t.graphOf(t.slice(q, [0, 5, 0], [4, 6, 4], [1, -1, 1])), foldShapes);
    t.expectUntouched(
      t.graphOf(t.slice(q, [1, 0, 0], [2, 6, 4]), t.slice(t.reshape(qkv, [12, 6, 4]), [0, 2, 0], [12, 2, 4])),
      foldShapes,
    );
  });
});

describe("foldShapes(): pads", () => {
  test("by nothing are nothing, and two are one", () => {
    t.expectRewritten(t.graphOf(t.pad(x(), [0, 0], [0, 0], 5)), foldShapes, { from: ["pad"], to: [] });
    t.expectRewritten(t.graphOf(t.pad(t.pad(x(), [1, 0], [0, 2]), [0, 1], [3, 0])), foldShapes, {
      from: ["pad", "pad"],
      to: ["pad"],
    });
    t.expectUntouched(t.graphOf(t.pad(t.pad(x(), [1, 0], [0, 2], 1), [0, 1], [3, 0])), foldShapes);
  });
});

describe("foldShapes(): concats", () => {
  test("of one are nothing, and operands with no elements are dropped", () => {
    t.expectRewritten(t.graphOf(t.concat(1, x())), foldShapes, { from: ["concat"], to: [] });
    t.expectRewritten(t.graphOf(t.concat(0, t.constant([], [0, 4]), x())), foldShapes, { from: ["concat"], to: [] });
  });

  test("within concats are laid out, if nobody else needs them", () => {
    const inner = t.concat(0, x(), t.input("a", [1, 4]));
    t.expectRewritten(t.graphOf(t.concat(0, inner, t.input("b", [1, 4]))), foldShapes, {
      from: ["concat", "concat"],
      to: ["concat"],
    });
    t.expectUntouched(t.graphOf(t.concat(0, inner, t.input("b", [1, 4])), inner), foldShapes);
    t.expectUntouched(t.graphOf(t.concat(1, inner, t.input("c", [7, 1]))), foldShapes);
  });

  test("of slices that make a whole are the whole", () => {
    const a = x();
    const rows = (start: number, count: number, step = 1) => t.slice(a, [start, 0], [count, 4], [step, 1]);
    t.expectRewritten(t.graphOf(t.concat(0, rows(0, 2), rows(2, 1), rows(3, 3))), foldShapes, {
      from: ["slice", "slice", "slice", "concat"],
      to: [],
    });
    t.expectRewritten(t.graphOf(t.concat(0, rows(1, 2), rows(3, 2), t.input("b", [1, 4]), rows(0, 1))), foldShapes, {
      from: ["slice", "slice", "concat", "slice"],
      to: ["slice", "concat", "slice"],
    });
    t.expectRewritten(t.graphOf(t.concat(0, rows(5, 2, -1), rows(3, 3, -1))), foldShapes, {
      from: ["slice", "slice", "concat"],
      to: ["slice"],
    });
    t.expectUntouched(t.graphOf(t.concat(0, rows(0, 2), rows(3, 3)), t.concat(1, rows(0, 2), rows(2, 2))), foldShapes);
    t.expectUntouched(t.graphOf(t.concat(0, rows(0, 2), t.slice(a, [2, 3], [4, 4], [1, -1]))), foldShapes);
  });

  test("of slices that only look like neighbors stay", () => {
    const a = x();
    const top = t.slice(a, [0, 0], [3, 4]);
    const mirrored = t.slice(a, [3, 0], [3, 1], [1, -1]);
    t.expectUntouched(
      t.graphOf(t.concat(0, t.slice(a, [0, 0], [3, 1]), t.unary("neg", t.slice(a, [3, 0], [3, 1])))),
      foldShapes,
    );
    t.expectUntouched(t.graphOf(t.concat(0, top, t.unary("neg", a))), foldShapes);
    t.expectUntouched(t.graphOf(t.concat(0, top, t.slice(t.input("b", [6, 4]), [3, 0], [3, 4]))), foldShapes);
    t.expectUntouched(
      t.graphOf(t.concat(1, t.slice(a, [0, 0], [3, 2]), t.slice(a, [0, 2], [3, 2], [2, 1]))),
      foldShapes,
    );
    t.expectUntouched(t.graphOf(t.concat(1, t.slice(a, [0, 0], [3, 2]), t.slice(a, [1, 2], [3, 2]))), foldShapes);
    t.expectRewritten(t.graphOf(t.concat(0, t.slice(a, [0, 0], [3, 1]), mirrored)), foldShapes, {
      from: ["slice", "slice", "concat"],
      to: ["slice"], // of one column: in which direction makes no difference
    });
  });

  test("keep what is neither laid out nor joined, if their number stays the same", () => {
    const a = x();
    const inner = t.concat(0, t.input("b", [1, 4]), t.slice(a, [0, 0], [2, 4]));
    t.expectRewritten(t.graphOf(t.concat(0, inner, t.slice(a, [2, 0], [1, 4]))), foldShapes, {
      from: ["slice", "slice", "concat", "concat"],
      to: ["slice", "concat"],
    });
  });

  test("with tensors filled with one number are pads", () => {
    const zeros = (rows: number) => t.filled(0, [rows, 4]);
    t.expectRewritten(t.graphOf(t.concat(0, zeros(2), zeros(1), x(), zeros(3))), foldShapes, {
      from: ["broadcast", "broadcast", "broadcast", "concat"],
      to: ["pad"],
    });
    t.expectRewritten(t.graphOf(t.concat(0, x(), t.input("a", [1, 4]), zeros(3), zeros(1))), foldShapes, {
      from: ["broadcast", "broadcast", "concat"],
      to: ["broadcast", "concat"],
    });
    const ones = t.filled(1, [1, 4]);
    t.expectUntouched(
      t.graphOf(t.concat(0, zeros(1), x(), ones), t.concat(0, zeros(1), x(), ones, zeros(1))),
      foldShapes,
    );
  });
});

describe("foldShapes(): tiles", () => {
  test("by one are nothing", () => {
    t.expectRewritten(t.graphOf(t.tile(x(), [1, 1])), foldShapes, { from: ["tile"], to: [] });
    t.expectUntouched(t.graphOf(t.tile(x(), [2, 1])), foldShapes);
  });
});

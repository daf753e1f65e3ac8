import * as tf from "@tensorflow/tfjs-core";
import { compile, spec } from "@madformer/engine";
import fc from "fast-check";
import { sizeOf } from "../../src/ir/graph.js";
import { caseOf, expectAgreement, type Case } from "../oracle.js";
import { TOLERANCE } from "../tolerance.js";
import { Draws, given, shapes, vector } from "../values.js";

const draws = new Draws("shapes");
const { exact, elementwise, reduction } = TOLERANCE;
/** Elements are moved, and so are their gradients. */
const MOVED = { tolerance: exact, gradient: exact };
/** Elements are used more than once: their gradients are sums. */
const COPIED = { tolerance: exact, gradient: reduction };
/** Elements are added up: their gradients are copies. */
const SUMMED = { tolerance: reduction, gradient: exact };
const EXACT = { tolerance: exact, gradient: false } as const;

/** One case for each drawn shape. */
const each = (shape: fc.Arbitrary<number[]>, count: number, of: (shape: number[]) => Case): Case[] =>
  draws.list(shape, count).map(of);

describe("shapes", () => {
  test("tf.reshape(), also with a size of -1, and tf.squeeze()", async () => {
    const x = draws.normal([2, 3, 4]);
    const sizes = [[24], [-1], [4, 3, 2], [2, 1, 3, 1, 4], [6, -1], [1, 1, 1, -1]];
    await expectAgreement([
      ...sizes.map((to) => caseOf(`reshape to ${to.join()}`, { x }, ({ x }) => tf.reshape(x, to), MOVED)),
      caseOf("reshape", { x: draws.normal([1]) }, ({ x }) => tf.reshape(x, []), MOVED),
      caseOf("reshape", { x: draws.normal([]) }, ({ x }) => tf.reshape(x, [1, 1]), MOVED),
      caseOf("reshape", { x: draws.normal([2, 0, 3]) }, ({ x }) => tf.reshape(x, [0, 7]), MOVED),
      caseOf("reshape to itself", { x }, ({ x }) => tf.reshape(x, [2, 3, 4]), MOVED),
      caseOf("squeeze", { x: draws.normal([1, 3, 1, 2, 1]) }, ({ x }) => tf.squeeze(x), MOVED),
      caseOf("squeeze 0 and -1", { x: draws.normal([1, 3, 1, 2, 1]) }, ({ x }) => tf.squeeze(x, [0, -1]), MOVED),
    ]);
  });

  test("tf.expandDims() at every place", async () => {
    const x = draws.normal([2, 3, 4]);
    await expectAgreement(
      [0, 1, 2, 3, -1, -2].map((at) => caseOf(`expandDims ${at}`, { x }, ({ x }) => tf.expandDims(x, at), MOVED)),
    );
  });

  test("tf.transpose() by every permutation", async () => {
    const permutations = (list: readonly number[]): number[][] =>
      list.length === 0 ? [[]] : list.flatMap((n, i) => permutations(list.toSpliced(i, 1)).map((rest) => [n, ...rest]));
    const values = [[], [5], [3, 2], [2, 3, 4], [2, 1, 3, 4], [2, 3, 4, 5], [0, 2, 3]].map((shape) =>
      draws.normal(shape),
    );
    await expectAgreement([
      ...values.flatMap((x) =>
        permutations([...x.shape.keys()]).map((by) =>
          caseOf(`transpose by ${by.join()}`, { x }, ({ x }) => tf.transpose(x, by), MOVED),
        ),
      ),
      ...values.map((x) => caseOf("transpose", { x }, ({ x }) => tf.transpose(x), MOVED)),
      caseOf("transpose", { x: draws.normal([2, 3, 1, 2, 5]) }, ({ x }) => tf.transpose(x, [4, 0, 3, 1, 2]), MOVED),
      caseOf(
        "transpose, twice",
        { x: draws.normal([2, 3, 4]) },
        ({ x }) => tf.transpose(tf.transpose(x, [2, 0, 1]), [0, 2, 1]),
        MOVED,
      ),
    ]);
  });

  test("tf.broadcastTo() and its gradient, the sum", async () => {
    const rows = [
      { from: [], to: [2, 3] },
      { from: [1], to: [5] },
      { from: [3], to: [2, 3] },
      { from: [2, 1, 3], to: [2, 4, 3] },
      { from: [1, 1], to: [2, 3, 4, 5] },
      { from: [2, 3], to: [2, 3] },
    ];
    await expectAgreement(
      rows.map(({ from, to }) =>
        caseOf(`broadcastTo ${to.join()}`, { x: draws.normal(from) }, ({ x }) => tf.broadcastTo(x, to), COPIED),
      ),
    );
  });

  test("tf.tile() and its gradient, up to the four axes that tfjs has it for", async () => {
    const rows = [
      { x: [3], reps: [4] },
      { x: [2, 3], reps: [3, 1] },
      { x: [2, 3], reps: [2, 2] },
      { x: [2, 1, 3], reps: [1, 4, 2] },
      { x: [2, 1, 3, 2], reps: [2, 2, 1, 3] },
    ];
    await expectAgreement([
      ...rows.map(({ x, reps }) =>
        caseOf(`tile ${reps.join()}`, { x: draws.normal(x) }, ({ x }) => tf.tile(x, reps), COPIED),
      ),
      caseOf("tile", { x: draws.normal([2, 1, 2, 3, 1]) }, ({ x }) => tf.tile(x, [1, 2, 1, 2, 3]), EXACT),
      caseOf("tile, none", { x: draws.normal([2, 3]) }, ({ x }) => tf.tile(x, [2, 0]), EXACT),
    ]);
  });
});

describe("parts", () => {
  test("tf.slice() and its gradient", async () => {
    const parts = shapes(1, 4).chain((shape) =>
      fc.tuple(
        fc.constant(shape),
        ...shape.map((size) =>
          fc.tuple(fc.nat(size), fc.nat(size)).map(([a, b]) => [Math.min(a, b), Math.abs(a - b)] as const),
        ),
      ),
    );
    const drawn = draws.list(parts, 25).map(([shape, ...bounds]) => {
      const [begin, size] = [bounds.map(([from]) => from), bounds.map(([, count]) => count)];
      return caseOf(
        `slice ${size.join()} from ${begin.join()}`,
        { x: draws.normal(shape) },
        ({ x }) => tf.slice(x, begin, size),
        MOVED,
      );
    });
    const x = draws.normal([4, 5]);
    await expectAgreement([
      ...drawn,
      caseOf("slice to the end", { x }, ({ x }) => tf.slice(x, [1, 2], [-1, -1]), MOVED),
      caseOf("slice of the first axis", { x }, ({ x }) => tf.slice(x, 2, 1), MOVED),
      caseOf("all of it", { x }, ({ x }) => tf.slice(x, [0, 0], [4, 5]), MOVED),
    ]);
  });

  // Where an empty part would be taken in steps of one, tfjs' cpu backend fails. It has no gradient for any.
  test("tf.stridedSlice() with steps of both signs", async () => {
    const axis = fc.tuple(
      fc.integer({ min: -9, max: 9 }),
      fc.integer({ min: -9, max: 9 }),
      fc.constantFrom(2, 3, -1, -2, -3),
    );
    const drawn = draws.list(fc.tuple(axis, axis, fc.nat(3), fc.nat(3)), 40).map(([a, b, beginMask, endMask]) => {
      const bounds = [0, 1, 2].map((i) => [a[i]!, b[i]!]) as [number[], number[], number[]];
      return caseOf(
        `stridedSlice ${JSON.stringify([...bounds, beginMask, endMask])}`,
        { x: draws.normal([7, 5, 2]) },
        ({ x }) => tf.stridedSlice(x, ...bounds, beginMask, endMask),
        EXACT,
      );
    });
    const x = draws.normal([4, 5, 6]);
    const slice = (name: string, ...of: Tail<Parameters<typeof tf.stridedSlice>>): Case =>
      caseOf(name, { x }, ({ x }) => tf.stridedSlice(x, ...of), EXACT);
    await expectAgreement([
      ...drawn,
      slice("an ellipsis in front", [0, 1], [0, 5], [1, 2], 1, 1, 1),
      slice("an ellipsis in the middle", [1, 0, 5], [3, 0, 0], [1, 1, -2], 0, 0, 2),
      slice("a new axis", [0, 0, 1], [0, 2, 3], [1, 1, 1], 0, 0, 0, 1),
      slice("an axis shrunk", [1, 2, 0], [2, 3, 6], [1, 1, 1], 0, 0, 0, 0, 2),
      slice("all axes shrunk", [1, -1, 3], [2, 0, 4], [1, 1, 1], 0, 0, 0, 0, 7),
    ]);
  });

  test("tf.split() into equal parts and into others, and its gradient", async () => {
    const x = draws.normal([4, 6, 2]);
    const rows: readonly (readonly [number | number[], number])[] = [[2, 0], [3, 1], [6, 1], [[1, 2, 3], 1], [[4, -1], 1], [[1, 1], -1]]; // prettier-ignore
    await expectAgreement(
      rows.map(([into, axis]) =>
        caseOf(`split ${String(into)} along ${axis}`, { x }, ({ x }) => tf.split(x, into, axis), MOVED),
      ),
    );
  });

  test("tf.unstack() along every axis, and its gradient", async () => {
    const x = draws.normal([2, 3, 4]);
    await expectAgreement(
      [0, 1, 2, -1].map((axis) => caseOf(`unstack ${axis}`, { x }, ({ x }) => tf.unstack(x, axis), MOVED)),
    );
  });

  test("side by side, overlapping, and with gaps between them", async () => {
    const x = draws.normal([6, 4]);
    const parts = (...bounds: readonly (readonly [from: number, size: number])[]) =>
      caseOf(
        `slices ${JSON.stringify(bounds)}`,
        { x },
        ({ x }) => bounds.map(([from, size]) => tf.slice(x, [from, 0], [size, 4])),
        COPIED,
      );
    await expectAgreement([
      parts([0, 2], [2, 4]),
      parts([4, 2], [0, 1], [1, 3]),
      parts([0, 2], [2, 1], [4, 2]),
      parts([0, 3], [2, 4], [3, 3]),
      parts([0, 2], [0, 3], [2, 4], [3, 3]),
      parts([0, 6], [0, 2], [2, 4]),
      parts([0, 2], [2, 4], [2, 4], [0, 0]),
      caseOf("both ways", { x }, ({ x }) => [...tf.split(x, 2, 0), ...tf.split(x, 2, 1)], COPIED),
      caseOf(
        "slices that are transposed",
        { x },
        ({ x }) => tf.split(x, 3, 0).map((part) => tf.transpose(part)),
        MOVED,
      ),
    ]);
  });

  test("the first part's gradient alone: the others are zero", async () => {
    const x = draws.normal([4, 6]);
    await expectAgreement([
      caseOf("split", { x }, ({ x }) => tf.split(x, 3, 1)[1]!, MOVED),
      caseOf("unstack", { x }, ({ x }) => tf.unstack(x, 1)[5]!, MOVED),
    ]);
  });

  test("tf.gather() and its gradient, which adds up rows taken twice", async () => {
    const x = draws.normal([5, 4, 3]);
    const indices = [[7], [], [2, 3], [1]].map((shape) => draws.integers(shape, 0, 3));
    await expectAgreement([
      ...[0, 1, 2, -1].flatMap((axis) =>
        indices.map((indices) =>
          caseOf(`gather along ${axis}`, { x, indices }, ({ x, indices }) => tf.gather(x, indices, axis), COPIED),
        ),
      ),
      caseOf(
        "gather",
        { x: draws.normal([9]), indices: vector([8, 0, 0, 8], "int32") },
        ({ x, indices }) => tf.gather(x, indices),
        COPIED,
      ),
      caseOf(
        "gather of int32",
        { x: draws.integers([5, 2], -9, 9), indices: indices[0]! },
        ({ x, indices }) => tf.gather(x, indices),
        EXACT,
      ),
      caseOf("gather, by constants", { x }, ({ x }) => tf.gather(x, [2, 0, 2], 1), COPIED),
      caseOf(
        "gather of none",
        { x, indices: draws.integers([0], 0, 3) },
        ({ x, indices }) => tf.gather(x, indices),
        COPIED,
      ),
    ]);
  });

  test("tf.unsortedSegmentSum() drops rows whose segment is negative; its gradient gathers", async () => {
    const ids = vector([2, 0, 2, 4, 0, 2], "int32");
    await expectAgreement([
      caseOf(
        "unsortedSegmentSum",
        { x: draws.normal([6, 3, 2]), ids },
        ({ x, ids }) => tf.unsortedSegmentSum(x, ids, 5),
        SUMMED,
      ),
      caseOf(
        "unsortedSegmentSum",
        { x: draws.normal([6]), ids },
        ({ x, ids }) => tf.unsortedSegmentSum(x, ids, 5),
        SUMMED,
      ),
      caseOf(
        "unsortedSegmentSum, some outside",
        { x: draws.normal([4, 3]), ids: vector([-1, 0, -1, 1], "int32") },
        ({ x, ids }) => tf.unsortedSegmentSum(x, ids, 2),
        SUMMED,
      ),
      caseOf(
        "unsortedSegmentSum, some beyond",
        { x: draws.normal([4, 3]), ids: vector([5, 0, 2, 1], "int32") },
        ({ x, ids }) => tf.unsortedSegmentSum(x, ids, 2),
        { tolerance: reduction, gradient: false }, // for which tfjs would gather from places that are not there
      ),
    ]);
  });

  test("tf.unsortedSegmentSum() of int32 stays int32, which it does not on tfjs' cpu backend", async () => {
    await using program = await compile(
      (_state, { x, ids }) => ({ outputs: { y: tf.unsortedSegmentSum(x, ids, 3) } }),
      {
        inputs: { x: spec([4, 2], "int32"), ids: spec([4], "int32") },
      },
    );
    const { y } = await program.run({ x: [1, 2, 16_777_217, 4, 5, 6, 7, 8], ids: [2, 0, 2, -1] });
    expect(y).toEqual(Int32Array.of(16_777_217, 4, 0, 0, 6, 8));
  });
});

type Tail<T extends readonly unknown[]> = T extends readonly [unknown, ...infer Rest] ? Rest : never;

describe("wholes", () => {
  test("tf.concat() along every axis, and its gradient", async () => {
    const rows = [
      { parts: [[2], [3], [1]], axis: 0 },
      { parts: [[2, 3], [4, 3]], axis: 0 }, // prettier-ignore
      { parts: [[2, 3], [2, 1], [2, 2]], axis: 1 }, // prettier-ignore
      { parts: [[2, 3, 1], [2, 3, 4]], axis: -1 }, // prettier-ignore
      { parts: [[2, 3], [0, 3], [1, 3]], axis: 0 }, // prettier-ignore
      { parts: [[0, 3], [0, 3]], axis: 0 }, // prettier-ignore
      { parts: [[2, 3]], axis: 1 },
      { parts: Array<number[]>(9).fill([1, 2]), axis: 0 },
    ];
    await expectAgreement(
      rows.map(({ parts, axis }) => {
        const values = Object.fromEntries(parts.map((shape, i) => [`x${i}`, draws.normal(shape)]));
        return caseOf(`concat along ${axis}`, values, (xs) => tf.concat(Object.values(xs), axis), MOVED);
      }),
    );
  });

  test("tf.concat() of one tensor with itself", async () => {
    await expectAgreement([
      caseOf("concat", { x: draws.normal([2, 3]) }, ({ x }) => tf.concat([x, tf.neg(x), x], 1), COPIED),
    ]);
  });

  test("tf.stack() along every axis, and its gradient", async () => {
    const values = { a: draws.normal([2, 3]), b: draws.normal([2, 3]), c: draws.normal([2, 3]) };
    await expectAgreement([
      ...[0, 1, 2, -1].map((axis) =>
        caseOf(`stack ${axis}`, values, ({ a, b, c }) => tf.stack([a, b, c], axis), MOVED),
      ),
      caseOf("stack of scalars", { a: draws.normal([]), b: draws.normal([]) }, ({ a, b }) => tf.stack([a, b]), MOVED),
      caseOf("stack of one", { a: values.a }, ({ a }) => tf.stack([a], 1), MOVED),
    ]);
  });

  test("tf.reverse() along every list of axes, and its gradient", async () => {
    const x = draws.normal([2, 3, 4]);
    const lists = [[], [0], [1], [2], [-1], [0, 2], [0, 1, 2], undefined];
    await expectAgreement([
      ...lists.map((axes) => caseOf(`reverse ${String(axes)}`, { x }, ({ x }) => tf.reverse(x, axes), MOVED)),
      caseOf("reverse", { x: draws.normal([0, 3]) }, ({ x }) => tf.reverse(x, 0), MOVED),
      caseOf("reverse", { x: draws.normal([1]) }, ({ x }) => tf.reverse(x, 0), MOVED),
    ]);
  });

  test("tf.pad() with any value, and its gradient", async () => {
    const padded = shapes(1, 4).chain((shape) =>
      fc.tuple(fc.constant(shape), fc.constantFrom(0, 1, -2.5), ...shape.map(() => fc.tuple(fc.nat(3), fc.nat(3)))),
    );
    await expectAgreement([
      ...draws
        .list(padded, 15)
        .map(([shape, value, ...paddings]) =>
          caseOf(
            `pad ${JSON.stringify(paddings)} with ${value}`,
            { x: draws.normal(shape) },
            ({ x }) => tf.pad(x, paddings, value),
            MOVED,
          ),
        ),
      caseOf("pad", { x: draws.integers([2, 3], -9, 9) }, ({ x }) => tf.pad(x, [[1, 0], [0, 2]], 7), EXACT), // prettier-ignore
      caseOf("pad", { x: draws.normal([2, 0]) }, ({ x }) => tf.pad(x, [[1, 0], [1, 2]], -Infinity), MOVED), // prettier-ignore
    ]);
  });

  // tfjs' gradient forgets the mirrored elements: see central-differences.test.ts.
  test.each(["reflect", "symmetric"] as const)("tf.mirrorPad(), %s", async (mode) => {
    const limit = mode === "reflect" ? 1 : 0;
    const padded = fc
      .array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 4 })
      .filter((shape) => sizeOf(shape) < 200)
      .chain((shape) =>
        fc.tuple(fc.constant(shape), ...shape.map((size) => fc.tuple(fc.nat(size - limit), fc.nat(size - limit)))),
      );
    await expectAgreement(
      draws
        .list(padded, 20)
        .map(([shape, ...paddings]) =>
          caseOf(
            `mirrorPad ${JSON.stringify(paddings)}`,
            { x: draws.normal(shape) },
            ({ x }) => tf.mirrorPad(x, paddings, mode),
            EXACT,
          ),
        ),
    );
  });

  test("tf.depthToSpace()", async () => {
    const rows = [
      { x: [1, 2, 3, 4], block: 2 },
      { x: [2, 3, 2, 12], block: 2 },
      { x: [2, 1, 2, 18], block: 3 },
    ] as const;
    await expectAgreement(
      rows.map(({ x, block }) =>
        caseOf(`depthToSpace ${block}`, { x: draws.normal(x) }, ({ x }) => tf.depthToSpace(x, block), EXACT),
      ),
    );
  });
});

describe("tensors from numbers", () => {
  test("tf.oneHot() gives nothing to indices outside its depth", async () => {
    const values = [
      vector([0, 2, 4, 2], "int32"),
      vector([-1, 0, 5, 7], "int32"),
      draws.integers([2, 3], 0, 5),
      draws.integers([], 0, 5),
    ];
    await expectAgreement([
      ...values.map((ids) => caseOf("oneHot", { ids }, ({ ids }) => tf.oneHot(ids, 5), EXACT)),
      ...(["float32", "int32", "bool"] as const).map((dtype) =>
        caseOf(`oneHot ${dtype}`, { ids: values[0]! }, ({ ids }) => tf.oneHot(ids, 5, 1, 0, dtype), EXACT),
      ),
      caseOf("oneHot, 3 and -2", { ids: values[0]! }, ({ ids }) => tf.oneHot(ids, 5, 3, -2), EXACT),
    ]);
  });

  test("tf.range(), tf.linspace(), tf.fill(), tf.eye(), tf.zerosLike() and others", async () => {
    const x = draws.normal([2, 3]);
    const makers: Readonly<Record<string, (x: tf.Tensor) => tf.Tensor>> = {
      "range up": () => tf.range(0, 5),
      "range by 0.3": () => tf.range(-1, 1, 0.3),
      "range down": () => tf.range(5, -3, -2),
      "range of none": () => tf.range(3, 3),
      "range of int32": () => tf.range(-3, 9, 4, "int32"),
      linspace: () => tf.linspace(-1, 2, 7),
      "linspace of one": () => tf.linspace(3, 5, 1),
      fill: () => tf.fill([2, 3], 0.1),
      "fill a scalar": () => tf.fill([], 7),
      "fill int32": () => tf.fill([4], -3, "int32"),
      "fill none": () => tf.fill([2, 0], 1),
      zeros: () => tf.zeros([2, 3]),
      "ones of bool": () => tf.ones([2], "bool"),
      eye: () => tf.eye(3, 4),
      zerosLike: (x) => tf.zerosLike(x),
      onesLike: (x) => tf.onesLike(x),
      "a tensor of numbers": () => tf.tensor2d([[1, 2], [3, 4]]), // prettier-ignore
    };
    // Each is made, and used beside what is known at the run alone.
    await expectAgreement(
      Object.entries(makers).flatMap(([name, make]) => [
        caseOf(name, { x }, ({ x }) => make(x), { tolerance: elementwise, gradient: false }),
        caseOf(`${name}, used`, { x }, ({ x }) => tf.add(tf.cast(make(x), "float32"), tf.sum(x)), {
          tolerance: reduction,
          gradient: false,
        }),
      ]),
    );
  });

  test("tf.linalg.bandPart() and tf.where(), a causal mask", async () => {
    const scores = given([3, 3], [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    const causal = caseOf(
      "causal",
      { scores },
      ({ scores }) =>
        tf.where(tf.cast(tf.linalg.bandPart(tf.ones([3, 3]), -1, 0), "bool"), scores, tf.fill([3, 3], -1e9)),
      { tolerance: exact, gradient: exact },
    );
    await expectAgreement([causal]);
  });
});

test("long chains of moves", async () => {
  const x = draws.normal([2, 3, 4, 5]);
  await expectAgreement([
    caseOf(
      "heads",
      { x },
      ({ x }) => {
        const [q, k] = tf.unstack(tf.transpose(tf.reshape(x, [2, 3, 2, 2, 5]), [2, 0, 3, 1, 4]));
        return tf.concat([tf.reverse(q!, 1), tf.slice(k!, [0, 0, 1], [2, 2, 2])], 2);
      },
      MOVED,
    ),
    ...each(shapes(2, 4), 8, (shape) =>
      caseOf(
        "moves",
        { x: draws.normal(shape) },
        ({ x }) => tf.tile(tf.pad(tf.reshape(tf.transpose(x), [x.shape[0], -1]), [[1, 0], [0, 2]]), [2, 1]), // prettier-ignore
        COPIED,
      ),
    ),
  ]);
});

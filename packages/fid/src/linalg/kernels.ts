import { wasm } from "@madformer/engine";

const { advance, assemble, Assembly, f64, f64x2, get, i32, repeat, set, sumOfPair, WebAssembly } = wasm;
type Assembly = wasm.Assembly;
type Code = wasm.Code;

/**
 * The inner loops of this folder, in WebAssembly: two doubles at a time, where JavaScript has one. All addresses are
 * bytes of the module's memory, multiples of 8. *Measured* (one core, 4 GHz): products at 20 GFLOP/s, in JavaScript at
 * 2.
 */
export interface Kernels {
  /**
   * C += alpha · AᵀB for packed A and B: `a` points to `aPanels` panels of `k` rows of four columns, `b` alike, and
   * panel p of one and q of the other make the four by four elements of C at row 4p and column 4q.
   *
   * @param ldc, aStride, bStride Bytes from row to row of C and from panel to panel.
   */
  tiles(
    a: number,
    b: number,
    c: number,
    k: number,
    ldc: number,
    alpha: number,
    aPanels: number,
    bPanels: number,
    aStride: number,
    bStride: number,
  ): void;

  /**
   * y += A · x for a symmetric A of 4 · `groups` rows, of which the lower triangle and the four by four elements around
   * the diagonal are read.
   *
   * @param lda Bytes from row to row.
   */
  symmetric(a: number, lda: number, x: number, y: number, groups: number): void;

  /** The sum of x[i] · y[i] over 4 · `quads` elements. */
  dot(x: number, y: number, quads: number): number;

  /** y[i] += alpha · x[i] for 4 · `quads` elements. */
  axpy(alpha: number, x: number, y: number, quads: number): void;

  /**
   * One column of a Cholesky factor. For `rows` rows of `a`: the element at `column` bytes from the row's start becomes
   * (itself - the product of the row with `pivot` over 2 · `pairs` elements) · `scale`, and its square is taken from
   * `diagonal`.
   */
  choleskyColumn(
    a: number,
    rows: number,
    lda: number,
    pivot: number,
    pairs: number,
    column: number,
    scale: number,
    diagonal: number,
  ): void;
}

/** A four by four tile of sums: eight pairs stay in registers. */
function tiles(): Assembly {
  const f = new Assembly("tiles", ["i32", "i32", "i32", "i32", "i32", "f64", "i32", "i32", "i32", "i32"]);
  const [a, b, c, k, ldc, alpha, aPanels, bPanels, aStride, bStride] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9] as const;
  const [pa, pb, pc, rowC, count, across, nextB] = f.localsOf("i32", 7) as Seven;
  const [left, right, one, factor] = f.localsOf("v128", 4) as Four;
  const sums = f.localsOf("v128", 8); // row-major, two pairs to a row
  const rows = [0, 1, 2, 3];
  const sumOf = (row: number, half: number): number => sums[2 * row + half]!;

  const step: Code[] = [
    set(left, f64x2.load(get(pb), 0)),
    set(right, f64x2.load(get(pb), 16)),
    ...rows.flatMap((row) => [
      set(one, f64x2.loadSplat(get(pa), 8 * row)),
      set(sumOf(row, 0), f64x2.add(get(sumOf(row, 0)), f64x2.mul(get(one), get(left)))),
      set(sumOf(row, 1), f64x2.add(get(sumOf(row, 1)), f64x2.mul(get(one), get(right)))),
    ]),
    advance(pa, i32.const(32)),
    advance(pb, i32.const(32)),
  ];
  const write = (row: number, half: number): Code =>
    f64x2.store(
      get(pc),
      16 * half,
      f64x2.add(f64x2.load(get(pc), 16 * half), f64x2.mul(get(sumOf(row, half)), get(factor))),
    );
  const tile: Code[] = [
    ...sums.map((sum) => set(sum, f64x2.zero)),
    set(pa, get(a)),
    set(pb, get(nextB)),
    set(count, get(k)),
    repeat(count, ...step),
    set(pc, get(rowC)),
    ...rows.flatMap((row) => [write(row, 0), write(row, 1), advance(pc, get(ldc))]),
    advance(nextB, get(bStride)),
    advance(rowC, i32.const(32)),
  ];
  f.code = [
    set(factor, f64x2.splat(get(alpha))),
    repeat(
      aPanels,
      set(nextB, get(b)),
      set(rowC, get(c)),
      set(across, get(bPanels)),
      repeat(across, ...tile),
      advance(a, get(aStride)),
      advance(c, i32.mul(get(ldc), i32.const(4))),
    ),
  ].flat();
  return f;
}

/** Four rows at a time: each element is read once, for its row and for its column. */
function symmetric(): Assembly {
  const f = new Assembly("symmetric", ["i32", "i32", "i32", "i32", "i32"]);
  const [a, lda, x, y, groups] = [0, 1, 2, 3, 4] as const;
  const [px, py, count, before, here] = f.localsOf("i32", 5) as Five;
  const rowAt = f.localsOf("i32", 4);
  const [xs, ys, element] = f.localsOf("v128", 3) as Three;
  const sums = f.localsOf("v128", 4);
  const splats = f.localsOf("v128", 4);
  const rows = [0, 1, 2, 3];

  const pair: Code[] = [
    set(xs, f64x2.load(get(px))),
    set(ys, f64x2.load(get(py))),
    ...rows.flatMap((row) => [
      set(element, f64x2.load(get(rowAt[row]!))),
      set(sums[row]!, f64x2.add(get(sums[row]!), f64x2.mul(get(element), get(xs)))),
      set(ys, f64x2.add(get(ys), f64x2.mul(get(element), get(splats[row]!)))),
      advance(rowAt[row]!, i32.const(16)),
    ]),
    f64x2.store(get(py), 0, get(ys)),
    advance(px, i32.const(16)),
    advance(py, i32.const(16)),
  ];
  /** The four by four elements around the diagonal: here px is at this group's part of x. */
  const around: Code[] = [0, 16].flatMap((offset) => [
    set(xs, f64x2.load(get(px), offset)),
    ...rows.map((row) =>
      set(sums[row]!, f64x2.add(get(sums[row]!), f64x2.mul(f64x2.load(get(rowAt[row]!), offset), get(xs)))),
    ),
  ]);
  f.code = repeat(
    groups,
    set(rowAt[0]!, get(a)),
    ...[1, 2, 3].map((row) => set(rowAt[row]!, i32.add(get(rowAt[row - 1]!), get(lda)))),
    set(here, i32.mul(get(before), i32.const(16))), // `before` counts the pairs left of the diagonal
    ...rows.flatMap((row) => [
      set(sums[row]!, f64x2.zero),
      set(splats[row]!, f64x2.loadSplat(i32.add(get(x), get(here)), 8 * row)),
    ]),
    set(px, get(x)),
    set(py, get(y)),
    set(count, get(before)),
    repeat(count, ...pair),
    ...around,
    ...rows.map((row) => f64.store(get(py), 8 * row, f64.add(f64.load(get(py), 8 * row), sumOfPair(sums[row]!)))),
    advance(before, i32.const(2)),
    advance(a, i32.mul(get(lda), i32.const(4))),
  );
  return f;
}

function dot(): Assembly {
  const f = new Assembly("dot", ["i32", "i32", "i32"], "f64");
  const [x, y, quads] = [0, 1, 2] as const;
  const sums = f.localsOf("v128", 2) as Two;
  const add = (half: 0 | 1): Code =>
    set(
      sums[half],
      f64x2.add(get(sums[half]), f64x2.mul(f64x2.load(get(x), 16 * half), f64x2.load(get(y), 16 * half))),
    );
  f.code = [
    repeat(quads, add(0), add(1), advance(x, i32.const(32)), advance(y, i32.const(32))),
    set(sums[0], f64x2.add(get(sums[0]), get(sums[1]))),
    sumOfPair(sums[0]),
  ].flat();
  return f;
}

function axpy(): Assembly {
  const f = new Assembly("axpy", ["f64", "i32", "i32", "i32"]);
  const [alpha, x, y, quads] = [0, 1, 2, 3] as const;
  const factor = f.local("v128");
  const add = (at: number): Code =>
    f64x2.store(get(y), at, f64x2.add(f64x2.load(get(y), at), f64x2.mul(get(factor), f64x2.load(get(x), at))));
  f.code = [
    set(factor, f64x2.splat(get(alpha))),
    repeat(quads, add(0), add(16), advance(x, i32.const(32)), advance(y, i32.const(32))),
  ].flat();
  return f;
}

function choleskyColumn(): Assembly {
  const f = new Assembly("choleskyColumn", ["i32", "i32", "i32", "i32", "i32", "i32", "f64", "i32"]);
  const [a, rows, lda, pivot, pairs, column, scale, diagonal] = [0, 1, 2, 3, 4, 5, 6, 7] as const;
  const [px, py, count] = f.localsOf("i32", 3) as Three;
  const sum = f.local("v128");
  const value = f.local("f64");
  f.code = repeat(
    rows,
    set(sum, f64x2.zero),
    set(px, get(a)),
    set(py, get(pivot)),
    set(count, get(pairs)),
    repeat(
      count,
      set(sum, f64x2.add(get(sum), f64x2.mul(f64x2.load(get(px)), f64x2.load(get(py))))),
      advance(px, i32.const(16)),
      advance(py, i32.const(16)),
    ),
    set(px, i32.add(get(a), get(column))),
    set(value, f64.mul(f64.sub(f64.load(get(px)), sumOfPair(sum)), get(scale))),
    f64.store(get(px), 0, get(value)),
    f64.store(get(diagonal), 0, f64.sub(f64.load(get(diagonal)), f64.mul(get(value), get(value)))),
    advance(a, get(lda)),
    advance(diagonal, i32.const(8)),
  );
  return f;
}

type Two = [number, number];
type Three = [number, number, number];
type Four = [number, number, number, number];
type Five = [number, number, number, number, number];
type Seven = [number, number, number, number, number, number, number];

let compiled: object | undefined;

/** The kernels over a memory. */
export function kernelsOver(memory: wasm.WebAssemblyMemory): Kernels {
  compiled ??= new WebAssembly.Module(assemble([tiles(), symmetric(), dot(), axpy(), choleskyColumn()]));
  return new WebAssembly.Instance(compiled, { env: { memory } }).exports as unknown as Kernels;
}

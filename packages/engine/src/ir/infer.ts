import { sizeOf, type DType, type Node, type Op, type Shape, type Window2D } from "./graph.js";

/** What an operation gives: its result's dtype and shape. */
export interface TensorType {
  readonly dtype: DType;
  readonly shape: Shape;
}

/** Text of a tensor's type as messages and dumps show it: `float32(2, 3)`. */
export function formatType({ dtype, shape }: TensorType): string {
  return `${dtype}(${shape.join(", ")})`;
}

/**
 * The shape that two operands broadcast to (NumPy's rule).
 *
 * @throws {RangeError} If they do not.
 */
export function broadcastShapes(a: Shape, b: Shape): Shape {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, i) => {
    const x = a[i - rank + a.length] ?? 1;
    const y = b[i - rank + b.length] ?? 1;
    if (x !== y && x !== 1 && y !== 1)
      throw new RangeError(`cannot broadcast (${a.join(", ")}) with (${b.join(", ")})`);
    return x === 1 ? y : x;
  });
}

/** Rows and columns of what a window gives over `height` x `width` pixels. */
export function windowOutput(window: Window2D, height: number, width: number): [number, number] {
  const [top, bottom, left, right] = window.pads;
  const along = (axis: 0 | 1, size: number): number =>
    Math.floor((size - (window.size[axis] - 1) * window.dilations[axis] - 1) / window.strides[axis]) + 1;
  return [along(0, height + top + bottom), along(1, width + left + right)];
}

/**
 * Result of one operation on operands of these types; the only place where the rules stand.
 *
 * @throws {TypeError} For a dtype the operation does not take.
 * @throws {RangeError} For shapes or attributes that do not fit, with both shown.
 */
export function infer(op: Op, inputs: readonly TensorType[]): TensorType {
  const fail = (reason: string): never => {
    throw new RangeError(`${op.kind}(${inputs.map(formatType).join(", ")}): ${reason}`);
  };
  const expect = (condition: boolean, reason: string): void => void (condition || fail(reason));
  const want = (i: number, ...dtypes: DType[]): TensorType => {
    const type = inputs[i] ?? fail(`operand ${i} is missing`);
    if (dtypes.length > 0 && !dtypes.includes(type.dtype))
      throw new TypeError(`${op.kind}: operand ${i} is ${formatType(type)}, expected ${dtypes.join(" or ")}`);
    return type;
  };
  const axisOf = (type: TensorType, axis: number): number =>
    type.shape[axis] ?? fail(`axis ${axis} is not in [0, ${type.shape.length})`);
  const nhwc = (i: number): [number, number, number, number] => {
    const { shape } = want(i, "float32");
    expect(shape.length === 4, `operand ${i} has rank ${shape.length}, expected 4 (NHWC)`);
    return shape as unknown as [number, number, number, number];
  };
  const broadcast = (a: Shape, b: Shape): Shape => {
    try {
      return broadcastShapes(a, b);
    } catch (cause) {
      return fail((cause as RangeError).message);
    }
  };
  const windows = (window: Window2D, height: number, width: number): [number, number] => {
    const places = windowOutput(window, height, width);
    expect(Math.min(...places) >= 0, `window ${window.size.join(" x ")} does not fit into the padded image`);
    return places;
  };

  switch (op.kind) {
    case "input":
      return { dtype: op.dtype, shape: op.shape };
    case "constant":
      expect(op.data.length === sizeOf(op.shape), `${op.data.length} values for shape (${op.shape.join(", ")})`);
      return { dtype: op.dtype, shape: op.shape };
    case "unary": {
      if (op.fn === "not") return want(0, "bool");
      if (op.fn === "isNaN" || op.fn === "isInf") return { dtype: "bool", shape: want(0, "float32").shape };
      const integral = op.fn === "neg" || op.fn === "abs" || op.fn === "sign" || op.fn === "square" || op.fn === "relu";
      return integral ? want(0, "float32", "int32") : want(0, "float32");
    }
    case "binary": {
      const logical = op.fn === "and" || op.fn === "or";
      const a = logical ? want(0, "bool") : want(0, "float32", "int32");
      const b = want(1, a.dtype);
      return { dtype: a.dtype, shape: broadcast(a.shape, b.shape) };
    }
    case "compare": {
      const a = want(0);
      return { dtype: "bool", shape: broadcast(a.shape, want(1, a.dtype).shape) };
    }
    case "select": {
      const a = want(1);
      const shape = broadcast(want(0, "bool").shape, broadcast(a.shape, want(2, a.dtype).shape));
      return { dtype: a.dtype, shape };
    }
    case "cast":
      return { dtype: op.dtype, shape: want(0).shape };
    case "reduce": {
      const logical = op.fn === "any" || op.fn === "all";
      const x = logical ? want(0, "bool") : op.fn === "mean" ? want(0, "float32") : want(0, "float32", "int32");
      op.axes.forEach((axis, i) => {
        axisOf(x, axis);
        expect(i === 0 || axis > (op.axes[i - 1] ?? -1), `axes [${op.axes.join(", ")}] are not sorted and distinct`);
      });
      const shape = x.shape.map((size, axis) => (op.axes.includes(axis) ? 1 : size));
      return { dtype: x.dtype, shape: op.keepDims ? shape : x.shape.filter((_, axis) => !op.axes.includes(axis)) };
    }
    case "arg": {
      const x = want(0, "float32", "int32");
      expect(axisOf(x, op.axis) > 0, "the axis is empty");
      return { dtype: "int32", shape: x.shape.filter((_, axis) => axis !== op.axis) };
    }
    case "cumsum":
      axisOf(want(0, "float32", "int32"), op.axis);
      return want(0);
    case "softmax":
      expect(want(0, "float32").shape.length > 0, "needs at least one axis");
      return want(0);
    case "attention":
    case "attentionGrad": {
      const three = (i: number): [number, number, number] => {
        const { shape } = want(i, "float32");
        expect(shape.length === 3, `operand ${i} has rank ${shape.length}, expected 3`);
        return shape as unknown as [number, number, number];
      };
      const [[N, Q, D], [, K], [, , E]] = [three(0), three(1), three(2)];
      expect(three(1).join() === [N, K, D].join(), `k should be (${N}, keys, ${D})`);
      expect(three(2).join() === [N, K, E].join(), `v should be (${N}, ${K}, columns)`);
      expect(K > 0, "there are no keys");
      const y = { dtype: "float32", shape: [N, Q, E] } as const;
      if (op.kind === "attentionGrad")
        for (const i of [3, 4]) expect(three(i).join() === y.shape.join(), `operand ${i} should be ${formatType(y)}`);
      const mask = op.kind === "attention" ? 3 : 5;
      if (inputs.length > mask)
        expect(broadcast(want(mask, "float32").shape, [N, Q, K]).join() === [N, Q, K].join(), "the mask does not fit");
      return op.kind === "attention" ? y : want({ q: 0, k: 1, v: 2 }[op.of]);
    }
    case "rmsNorm":
    case "groupNorm": {
      const x = want(0, "float32");
      const C = x.shape.at(-1) ?? fail("needs at least one axis");
      const isGroups = op.kind === "groupNorm";
      if (isGroups) expect(nhwc(0)[3] % op.groups === 0, `${op.groups} groups do not divide ${C} channels`);
      for (const i of isGroups ? [1, 2] : [1])
        expect(want(i, "float32").shape.join() === String(C), `operand ${i} should be (${C})`);
      return x;
    }
    case "matmul": {
      const a = want(0, "float32").shape;
      const b = want(1, "float32").shape;
      expect(a.length >= 2 && b.length >= 2, "both operands need at least two axes");
      const [m, k] = op.transposeA ? [a.at(-1), a.at(-2)] : [a.at(-2), a.at(-1)];
      const [k2, n] = op.transposeB ? [b.at(-1), b.at(-2)] : [b.at(-2), b.at(-1)];
      expect(k === k2, `inner sizes ${k} and ${k2} differ`);
      return { dtype: "float32", shape: [...broadcast(a.slice(0, -2), b.slice(0, -2)), m ?? 0, n ?? 0] };
    }
    case "conv2d": {
      const [N, H, W, C] = nhwc(0);
      const [h, w, I, O] = nhwc(1);
      expect(h === op.window.size[0] && w === op.window.size[1], `window is ${op.window.size.join(" x ")}`);
      expect(I * op.groups === C && O % op.groups === 0, `${op.groups} groups do not fit ${C} -> ${O} channels`);
      if (inputs.length > 2) expect(want(2, "float32").shape.join() === String(O), `operand 2 should be (${O})`);
      return { dtype: "float32", shape: [N, ...windows(op.window, H, W), O] };
    }
    case "conv2dInputGrad": {
      const expected = infer({ kind: "conv2d", window: op.window, groups: op.groups }, [
        { dtype: "float32", shape: op.shape },
        want(1, "float32"),
      ]);
      expect(expected.shape.join() === nhwc(0).join(), `dy should be (${expected.shape.join(", ")})`);
      return { dtype: "float32", shape: op.shape };
    }
    case "conv2dFilterGrad": {
      const expected = infer({ kind: "conv2d", window: op.window, groups: op.groups }, [
        want(0, "float32"),
        { dtype: "float32", shape: op.shape },
      ]);
      expect(expected.shape.join() === nhwc(1).join(), `dy should be (${expected.shape.join(", ")})`);
      return { dtype: "float32", shape: op.shape };
    }
    case "patches": {
      const [N, H, W, C] = nhwc(0);
      const [rows, columns] = windows(op.window, H, W);
      return { dtype: "float32", shape: [N * rows * columns, op.window.size[0] * op.window.size[1] * C] };
    }
    case "pool": {
      const [N, H, W, C] = nhwc(0);
      return { dtype: "float32", shape: [N, ...windows(op.window, H, W), C] };
    }
    case "poolGrad": {
      const [N, H, W, C] = nhwc(1);
      const expected = [N, ...windows(op.window, H, W), C];
      expect(expected.join() === nhwc(0).join(), `dy should be (${expected.join(", ")})`);
      return want(1);
    }
    case "resize":
    case "resizeGrad": {
      const [N, , , C] = nhwc(0);
      return { dtype: "float32", shape: [N, ...op.size, C] };
    }
    case "concat": {
      const first = want(0);
      const rest = inputs.map((type, i) => {
        const x = want(i, first.dtype);
        const fits =
          x.shape.length === first.shape.length && x.shape.every((s, d) => d === op.axis || s === first.shape[d]);
        expect(fits, `operand ${i} does not fit operand 0 beside axis ${op.axis}`);
        return axisOf(type, op.axis);
      });
      const total = rest.reduce((sum, size) => sum + size, 0);
      return { dtype: first.dtype, shape: first.shape.map((size, axis) => (axis === op.axis ? total : size)) };
    }
    case "slice": {
      const x = want(0);
      expect(
        [op.starts, op.sizes, op.steps].every((list) => list.length === x.shape.length),
        "one number per axis",
      );
      x.shape.forEach((size, axis) => {
        const [start, count, step] = [op.starts[axis] ?? 0, op.sizes[axis] ?? 0, op.steps[axis] ?? 0];
        const last = start + (count - 1) * step;
        const inside = count === 0 || (start >= 0 && start < size && last >= 0 && last < size);
        expect(step !== 0 && inside, `axis ${axis}: ${count} from ${start} by ${step} leaves [0, ${size})`);
      });
      return { dtype: x.dtype, shape: op.sizes };
    }
    case "pad": {
      const x = want(0);
      expect(op.before.length === x.shape.length && op.after.length === x.shape.length, "one number per axis");
      expect(
        [...op.before, ...op.after].every((n) => n >= 0),
        "padding is negative",
      );
      return { dtype: x.dtype, shape: x.shape.map((size, i) => size + (op.before[i] ?? 0) + (op.after[i] ?? 0)) };
    }
    case "broadcast": {
      const x = want(0);
      expect(broadcast(x.shape, op.shape).join() === op.shape.join(), `does not broadcast to (${op.shape.join(", ")})`);
      return { dtype: x.dtype, shape: op.shape };
    }
    case "tile": {
      const x = want(0);
      expect(op.repeats.length === x.shape.length, "one number of repeats per axis");
      return { dtype: x.dtype, shape: x.shape.map((size, i) => size * (op.repeats[i] ?? 1)) };
    }
    case "transpose": {
      const x = want(0);
      const sorted = [...op.permutation].sort((a, b) => a - b);
      const valid = sorted.length === x.shape.length && sorted.every((axis, i) => axis === i);
      expect(valid, `[${op.permutation.join(", ")}] does not permute ${x.shape.length} axes`);
      return { dtype: x.dtype, shape: op.permutation.map((axis) => axisOf(x, axis)) };
    }
    case "reshape": {
      const x = want(0);
      expect(sizeOf(x.shape) === sizeOf(op.shape), `does not have the size of (${op.shape.join(", ")})`);
      return { dtype: x.dtype, shape: op.shape };
    }
    case "gather": {
      const x = want(0);
      axisOf(x, op.axis);
      const indices = want(1, "int32").shape;
      return { dtype: x.dtype, shape: [...x.shape.slice(0, op.axis), ...indices, ...x.shape.slice(op.axis + 1)] };
    }
    case "segmentSum": {
      const x = want(0, "float32", "int32");
      expect(want(1, "int32").shape.join() === String(axisOf(x, 0)), "one id per row");
      return { dtype: x.dtype, shape: [op.segments, ...x.shape.slice(1)] };
    }
    case "barrier":
      expect(inputs.length > 1, "there is nothing to wait for");
      return want(0);
  }
}

let nextId = 0;

/** A new node; its type follows from the operation and the operands. */
export function makeNode(op: Op, inputs: readonly Node[] = [], scope = ""): Node {
  const { dtype, shape } = infer(op, inputs);
  return { id: nextId++, op, inputs, dtype, shape, scope };
}

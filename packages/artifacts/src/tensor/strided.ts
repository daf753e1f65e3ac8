/** Row-major strides, in elements. */
export function rowMajorStrides(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length).fill(1);
  for (let axis = shape.length - 2; axis >= 0; axis--)
    strides[axis] = (strides[axis + 1] ?? 1) * (shape[axis + 1] ?? 1);
  return strides;
}

/**
 * Copies a strided view into row-major order.
 *
 * @param bytes The elements that the view reaches, its first one at byte 0.
 * @param strides Elements from one to the next along each axis. 0 or more.
 * @param size Bytes of an element: 1, 2, 4 or 8.
 * @param target As many bytes as the view has. Filled.
 */
export function gather(
  bytes: Uint8Array,
  shape: readonly number[],
  strides: readonly number[],
  size: number,
  target: Uint8Array<ArrayBuffer>,
): void {
  // Bits are moved, not numbers: as doubles, a NaN could lose its payload. Eight bytes are two of four.
  if (size === 8) return gather(bytes, [...shape, 2], [...strides.map((stride) => 2 * stride), 1], 4, target);
  const Words = size === 4 ? Uint32Array : size === 2 ? Uint16Array : Uint8Array;
  const aligned = bytes.byteOffset % size ? bytes.slice() : bytes;
  const from = new Words(aligned.buffer as ArrayBuffer, aligned.byteOffset, Math.floor(aligned.length / size));
  const to = new Words(target.buffer, target.byteOffset, target.length / size);
  const last = shape.length - 1;
  const [columns, step] = [shape[last] ?? 1, strides[last] ?? 1];
  const index = shape.map(() => 0);
  let start = 0; // of the row, in `from`
  for (let row = 0; row < to.length; row += columns) {
    for (let k = 0, at = start; k < columns; k++, at += step) to[row + k] = from[at] ?? 0;
    for (let axis = last - 1; axis >= 0; axis--) {
      const [next, stride, length] = [(index[axis] ?? 0) + 1, strides[axis] ?? 0, shape[axis] ?? 1];
      start += stride;
      if (next < length) {
        index[axis] = next;
        break;
      }
      index[axis] = 0;
      start -= length * stride;
    }
  }
}

import koffi from "koffi";
import type { DType, TensorData } from "../ir/graph.js";

/** Bytes that vector instructions like their operands to start at. */
const ALIGNMENT = 64;

/**
 * Zeroed elements that start at a multiple of 64 bytes and whose pages are already mapped: a first write to fresh pages
 * makes the first runs of a program several times slower.
 */
export function alignedArray(dtype: DType, size: number): TensorData {
  const bytes = dtype === "bool" ? size : 4 * size;
  const buffer = new ArrayBuffer(bytes + ALIGNMENT);
  const start = new Uint8Array(buffer);
  start.fill(0);
  const offset = (ALIGNMENT - Number(koffi.address(start) % BigInt(ALIGNMENT))) % ALIGNMENT;
  switch (dtype) {
    case "float32":
      return new Float32Array(buffer, offset, size);
    case "int32":
      return new Int32Array(buffer, offset, size);
    case "bool":
      return new Uint8Array(buffer, offset, size);
  }
}

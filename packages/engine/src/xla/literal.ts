import type { TensorData } from "../ir/graph.js";

/** Element types of StableHLO that programs use. */
export type ElementType = "f32" | "bf16" | "i32" | "i8" | "i1";

/** One number as MLIR writes it, exactly: floats with all the digits they need, what is no number as bits. */
export function scalarText(value: number, type: ElementType): string {
  switch (type) {
    case "i1":
      return String(value !== 0);
    case "i8":
    case "i32":
      return String(value);
    case "f32":
    case "bf16":
      return floatText(value, type === "f32" ? 4 : 2);
  }
}

function floatText(value: number, bytes: 4 | 2): string {
  if (Number.isFinite(value)) {
    const [mantissa = "", exponent = ""] = Math.fround(value).toExponential().split("e");
    const sign = Object.is(Math.fround(value), -0) ? "-" : "";
    return `${sign}${mantissa.includes(".") ? mantissa : `${mantissa}.0`}e${exponent}`;
  }
  const bits = Number.isNaN(value) ? "7FC0" : value > 0 ? "7F80" : "FF80";
  return `0x${bits.padEnd(2 * bytes, "0")}`;
}

/** The elements of a tensor as one string of their bytes, which MLIR takes as they are (little-endian). */
export function denseText(data: TensorData): string {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  return `"0x${bytes.toString("hex").toUpperCase()}"`;
}

/** Whether all elements are the same, bit for bit: then one stands for all. */
export function isSplat(data: TensorData): boolean {
  const [first] = data;
  return data.length > 0 && data.every((value) => Object.is(value, first));
}

/** Text as MLIR quotes it: what is not plain ASCII as its bytes. */
export function quoted(text: string): string {
  const escape = (byte: number): string => `\\${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  const characters = [...Buffer.from(text)].map((byte) => {
    const plain = byte >= 0x20 && byte < 0x7f && byte !== 0x22 && byte !== 0x5c;
    return plain ? String.fromCharCode(byte) : escape(byte);
  });
  return `"${characters.join("")}"`;
}

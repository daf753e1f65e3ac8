import type { TensorValue } from "./dtype.js";

/**
 * A tensor's elements as float32: the array itself if it is one, else a copy. float16 and bfloat16 are exact; float64 and
 * integers past 2²⁴ are rounded to nearest.
 */
export function toFloat32({ dtype, data }: TensorValue): Float32Array {
  if (data instanceof Float32Array) return data;
  if (dtype === "bfloat16") {
    const bits = Uint32Array.from(data as Uint16Array, (half) => half << 16); // bfloat16 is the upper half of a float32
    return new Float32Array(bits.buffer);
  }
  if (dtype === "float16") {
    const table = float16Table();
    return Float32Array.from(data as Uint16Array, (bits) => table[bits] ?? NaN);
  }
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) return Float32Array.from(data, Number);
  return Float32Array.from(data);
}

/** A tensor's elements as float64: the array itself if it is one, else a copy. Integers past 2⁵³ are rounded to nearest. */
export function toFloat64(value: TensorValue): Float64Array {
  const { data } = value;
  if (data instanceof Float64Array) return data;
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) return Float64Array.from(data, Number);
  if (value.dtype === "float16" || value.dtype === "bfloat16") return Float64Array.from(toFloat32(value));
  return Float64Array.from(data);
}

let table: Float32Array | undefined;

/** The value of each of the 65,536 half-precision numbers: sign 1 bit, exponent 5 (bias 15), fraction 10. */
function float16Table(): Float32Array {
  return (table ??= Float32Array.from({ length: 65536 }, (_, bits) => {
    const [sign, exponent, fraction] = [bits >> 15 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    return sign * (exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : (fraction / 1024) * 2 ** -14);
  }));
}

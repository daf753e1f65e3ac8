import type { TensorValue } from "./dtype.js";

/**
 * A tensor's elements as float32: the array itself if it is one, else a copy. float16 and bfloat16 are exact; float64
 * and integers past 2²⁴ are rounded to nearest.
 */
export function toFloat32({ dtype, data }: TensorValue): Float32Array {
  if (data instanceof Float32Array) return data;
  if (dtype === "bfloat16") return fromBfloat16(data as Uint16Array);
  if (dtype === "float16") return fromFloat16(data as Uint16Array);
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) return Float32Array.from(data, Number);
  return new Float32Array(data);
}

/**
 * A tensor's elements as float64: the array itself if it is one, else a copy. Integers past 2⁵³ are rounded to nearest.
 */
export function toFloat64(value: TensorValue): Float64Array {
  const { data } = value;
  if (data instanceof Float64Array) return data;
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) return Float64Array.from(data, Number);
  if (value.dtype === "float16" || value.dtype === "bfloat16") return new Float64Array(toFloat32(value));
  return new Float64Array(data);
}

// Loops, as `from` with a function takes twenty times as long.

/** bfloat16 is the upper half of a float32. */
function fromBfloat16(halves: Uint16Array): Float32Array {
  const values = new Float32Array(halves.length);
  const bits = new Uint32Array(values.buffer);
  for (let i = 0; i < halves.length; i++) bits[i] = (halves[i] as number) << 16;
  return values;
}

function fromFloat16(halves: Uint16Array): Float32Array {
  const values = new Float32Array(halves.length);
  const table = float16Table();
  for (let i = 0; i < halves.length; i++) values[i] = table[halves[i] as number] as number;
  return values;
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

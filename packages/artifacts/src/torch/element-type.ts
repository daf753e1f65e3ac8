import { dtypeBytes, isDType, type DType } from "../tensor/dtype.js";

/** Types of elements that are listed and not read here, and bytes of an element. */
export const FOREIGN_BYTES = {
  complex32: 4,
  complex64: 8,
  complex128: 16,
  float8_e4m3fn: 1,
  float8_e4m3fnuz: 1,
  float8_e5m2: 1,
  float8_e5m2fnuz: 1,
  float8_e8m0fnu: 1,
  qint8: 1,
  quint8: 1,
  qint32: 4,
} as const;

/** What elements of a tensor can be. */
export type ElementType = DType | keyof typeof FOREIGN_BYTES;

/** Bytes of an element. */
export function torchBytes(dtype: ElementType): number {
  return isDType(dtype) ? dtypeBytes(dtype) : FOREIGN_BYTES[dtype];
}

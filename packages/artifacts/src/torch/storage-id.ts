import { PickleGlobal } from "../pickle/global.js";
import type { ElementType } from "./element-type.js";
import { STORAGE_DTYPES } from "./globals.js";

/** What a pickle says of a storage, in place of the storage. */
export interface StorageId {
  readonly key: string;
  /** `uint8` for one without a type. */
  readonly dtype: ElementType;
  /** 0 or more, maybe more than any file holds. */
  readonly elements: number;
  /** What follows: nothing in an archive, the view in the format before it. */
  readonly rest: readonly unknown[];
}

/**
 * Reads a persistent id, `("storage", class, key, device, elements, ...)`. The device is of no matter here.
 *
 * @param fail Makes the error to throw.
 */
export function storageId(id: unknown, fail: (problem: string) => Error): StorageId {
  const [kind, type, key, , elements, ...rest] = (Array.isArray(id) ? id : []) as unknown[];
  if (
    kind !== "storage" ||
    !(type instanceof PickleGlobal) ||
    typeof key !== "string" ||
    typeof elements !== "number" ||
    !(Number.isInteger(elements) && elements >= 0)
  )
    throw fail("its pickle has a persistent id that is no storage");
  const dtype = STORAGE_DTYPES[type.name];
  if (!dtype) throw fail(`its pickle has a storage of the class ${type.name}`);
  return { key, dtype, elements, rest };
}

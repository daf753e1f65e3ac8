import koffi from "koffi";
import type { FieldKind, Layout } from "./pjrt-table.js";

/** An address in the plugin's memory; 0 is none. */
export type Pointer = bigint;

/** What a field is set to; of an array its address, which the structure keeps alive. */
export type FieldValue = Pointer | number | boolean | ArrayBufferView;

export type FieldsOf<L extends Layout> = { readonly [Name in keyof L["fields"]]?: FieldValue };

/** Bytes that stay where they are: small typed arrays are moved by the garbage collector, their buffers are not. */
export function fixedBytes(size: number): Uint8Array {
  return new Uint8Array(new ArrayBuffer(Math.max(size, 1)));
}

/** The address of an array's first element, which stays its address for as long as the array lives. */
export function addressOf(array: ArrayBufferView): Pointer {
  return koffi.address(array);
}

/** A structure of PJRT's in memory of its own. */
export class Struct<L extends Layout = Layout> {
  readonly address: Pointer;
  private readonly layout: L;
  private readonly view: DataView;
  private readonly kept = new Map<string, ArrayBufferView>();

  /**
   * @param slack Bytes that are given besides, and said to be the structure's: a plugin of a newer version finds its
   *   new fields zero in them.
   */
  constructor(layout: L, values: FieldsOf<L> = {}, slack = 0) {
    const bytes = fixedBytes(layout.size + slack);
    this.layout = layout;
    this.view = new DataView(bytes.buffer);
    this.address = addressOf(bytes);
    this.view.setBigUint64(0, BigInt(layout.size + slack), true);
    for (const [name, value] of Object.entries(values)) this.set(name, value as FieldValue);
  }

  set(name: keyof L["fields"] & string, value: FieldValue): void {
    const { at, kind } = this.field(name);
    if (ArrayBuffer.isView(value)) {
      this.kept.set(name, value);
      this.view.setBigUint64(at, addressOf(value), true);
    } else if (kind === "word") this.view.setBigInt64(at, BigInt.asIntN(64, BigInt(value)), true);
    else if (kind === "int32") this.view.setInt32(at, Number(value), true);
    else this.view.setUint8(at, Number(value));
  }

  /** A word as an array of one element: the fastest way to set it again and again. */
  word(name: keyof L["fields"] & string): BigUint64Array {
    return new BigUint64Array(this.view.buffer, this.field(name).at, 1);
  }

  pointer(name: keyof L["fields"] & string): Pointer {
    return this.view.getBigUint64(this.field(name).at, true);
  }

  number(name: keyof L["fields"] & string): number {
    const { at, kind } = this.field(name);
    if (kind === "int32") return this.view.getInt32(at, true);
    return kind === "bool" ? this.view.getUint8(at) : Number(this.view.getBigInt64(at, true));
  }

  private field(name: string): { readonly at: number; readonly kind: FieldKind } {
    const field = this.layout.fields[name] as number | readonly [number, FieldKind];
    return typeof field === "number" ? { at: field, kind: "word" } : { at: field[0], kind: field[1] };
  }
}

/** Bytes at an address, copied. */
export function bytesAt(address: Pointer, size: number): Uint8Array {
  return size === 0 ? new Uint8Array(0) : new Uint8Array(koffi.view(address, size)).slice();
}

export function textAt(address: Pointer, size: number): string {
  return new TextDecoder().decode(bytesAt(address, size));
}

/** Addresses in a row, as C's arrays of pointers. */
export function pointerList(pointers: readonly Pointer[]): BigUint64Array {
  const list = new BigUint64Array(new ArrayBuffer(8 * Math.max(pointers.length, 1)));
  list.set(pointers);
  return list;
}

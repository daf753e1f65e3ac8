import { addressOf, fixedBytes } from "./pjrt-struct.js";
import { NAMED_VALUE, VALUE_TYPE } from "./pjrt-table.js";

/** Settings by name: an integer is a bigint, any other number a float. */
export type NamedValues = Readonly<Record<string, string | bigint | number | boolean>>;

/** Settings as PJRT takes them: a row of structures, and how many. Its bytes keep what they point to. */
export function encodeNamedValues(values: NamedValues): { readonly bytes: Uint8Array; readonly count: number } {
  const entries = Object.entries(values);
  const texts = entries.flatMap(([name, value]) => [name, ...(typeof value === "string" ? [value] : [])]);
  const encoded = new Map(texts.map((text) => [text, Buffer.from(text)]));
  const rows = NAMED_VALUE.size * entries.length;
  // What the rows point to lies behind them, so that one array keeps all.
  const size = [...encoded.values()].reduce((sum, { length }) => sum + length, rows);
  const bytes = fixedBytes(size);
  const view = new DataView(bytes.buffer);
  const base = addressOf(bytes);
  const places = new Map<string, bigint>();
  let at = rows;
  for (const [text, data] of encoded) {
    bytes.set(data, at);
    places.set(text, base + BigInt(at));
    at += data.length;
  }
  const lengthOf = (text: string): bigint => BigInt((encoded.get(text) as Buffer).length);
  entries.forEach(([name, value], i) => {
    const row = i * NAMED_VALUE.size;
    const word = (offset: number, number: bigint): void => view.setBigInt64(row + offset, number, true);
    const type = (number: number): void => view.setInt32(row + NAMED_VALUE.type, number, true);
    word(0, BigInt(NAMED_VALUE.size));
    word(NAMED_VALUE.name, places.get(name) as bigint);
    word(NAMED_VALUE.nameSize, lengthOf(name));
    word(NAMED_VALUE.valueSize, typeof value === "string" ? lengthOf(value) : 1n);
    if (typeof value === "string") {
      type(VALUE_TYPE.string);
      word(NAMED_VALUE.value, places.get(value) as bigint);
    } else if (typeof value === "bigint") {
      type(VALUE_TYPE.int64);
      word(NAMED_VALUE.value, value);
    } else if (typeof value === "number") {
      type(VALUE_TYPE.float);
      view.setFloat32(row + NAMED_VALUE.value, value, true);
    } else {
      type(VALUE_TYPE.bool);
      view.setUint8(row + NAMED_VALUE.value, Number(value));
    }
  });
  return { bytes, count: entries.length };
}

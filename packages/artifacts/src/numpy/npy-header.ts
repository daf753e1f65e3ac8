import { elementCount, type DType, type StoredDType } from "../tensor/dtype.js";

/** What the header of a `.npy` file says. */
export interface NpyHeader {
  /**
   * What numpy writes as `descr`, if it is a type that is not read here: strings, complex numbers, dates, structures,
   * objects.
   */
  readonly dtype: StoredDType;
  readonly bigEndian: boolean;
  /** Elements are in column-major order. */
  readonly fortranOrder: boolean;
  readonly shape: readonly number[];
}

const BY_KIND: Record<string, DType> = {
  f8: "float64",
  f4: "float32",
  f2: "float16",
  i8: "int64",
  i4: "int32",
  i2: "int16",
  i1: "int8",
  u8: "uint64",
  u4: "uint32",
  u2: "uint16",
  u1: "uint8",
  b1: "bool",
};
const KIND_OF = Object.fromEntries(Object.entries(BY_KIND).map(([kind, dtype]) => [dtype, kind])) as Record<
  DType,
  string
>;

/** A list of fields, nested at most three deep; brackets in names of fields count, too, and are not expected there. */
const STRUCTURE = /(\[(?:[^[\]]|\[(?:[^[\]]|\[[^[\]]*\])*\])*\])[ ]*/y;

/** numpy's own limit. */
const MAX_DIMS = 64;

/**
 * Parses the literal in a header: a dictionary of exactly `descr`, `fortran_order` and `shape`. Never evaluated: this
 * grammar is all there is.
 *
 * Source: numpy's format documentation, versions 1.0 to 3.0 (`numpy/lib/format.py`).
 *
 * @param fail Makes the error to throw.
 */
export function parseNpyHeader(text: string, fail: (problem: string) => Error): NpyHeader {
  let at = 0;
  const found: { descr?: string; fortran_order?: boolean; shape?: number[] } = {};
  const unexpected = (expected: string): Error =>
    fail(`its header has ${JSON.stringify(text.slice(at, at + 20))} at character ${at}, expected ${expected}`);
  const take = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at;
    const match = pattern.exec(text);
    if (!match) return undefined;
    at = pattern.lastIndex;
    return match[1] ?? match[2] ?? "";
  };
  const need = (pattern: RegExp, expected: string): string => {
    const value = take(pattern);
    if (value === undefined) throw unexpected(expected);
    return value;
  };

  need(/[ ]*\{[ ]*/y, "{");
  while (take(/\}[ ]*\n?/y) === undefined) {
    const key = need(/['"](\w{1,20})['"][ ]*:[ ]*/y, "a key or }");
    if (key in found) throw fail(`its header has ${JSON.stringify(key)} twice`);
    switch (key) {
      case "descr":
        if (text[at] === "[") found.descr = need(STRUCTURE, "a list of fields");
        else found.descr = need(/'([^'\\\n]{0,100})'[ ]*|"([^"\\\n]{0,100})"[ ]*/y, "a quoted dtype");
        break;
      case "fortran_order":
        found.fortran_order = need(/(True|False)[ ]*/y, "True or False") === "True";
        break;
      case "shape": {
        need(/\([ ]*/y, "(");
        const shape: number[] = [];
        while (take(/\)[ ]*/y) === undefined) {
          shape.push(Number(need(/(\d{1,19})L?[ ]*/y, "a size of 0 or more")));
          if (shape.length > MAX_DIMS) throw fail(`its shape has more than ${MAX_DIMS} axes`);
          if (take(/,[ ]*/y) === undefined && text[at] !== ")") throw unexpected(", or )");
        }
        found.shape = shape;
        break;
      }
      default:
        throw fail(`its header has the key ${JSON.stringify(key)}, expected descr, fortran_order and shape`);
    }
    if (take(/,[ ]*/y) === undefined && text[at] !== "}") throw unexpected(", or }");
  }
  if (at !== text.length) throw unexpected("its end");

  const { descr, fortran_order: fortranOrder, shape } = found;
  if (descr === undefined || fortranOrder === undefined || shape === undefined)
    throw fail("its header lacks one of descr, fortran_order and shape");
  const plain = /^[<>|=]/.test(descr) && Object.hasOwn(BY_KIND, descr.slice(1)) ? BY_KIND[descr.slice(1)] : undefined;
  const dtype = plain ?? descr;
  const bigEndian = plain !== undefined && descr.startsWith(">");
  if (Number.isNaN(elementCount(shape)))
    throw fail(`its shape (${shape.join(", ")}) has more elements than can be counted`);
  return { dtype, bigEndian, fortranOrder, shape };
}

/** Why an array of a type that is not read here cannot be read. */
export function unreadable(descr: StoredDType): string {
  if (descr.startsWith("[")) return "it holds a structured array, expected plain numbers";
  if (/^.?O/.test(descr)) return `it holds Python objects (dtype ${JSON.stringify(descr)}), which only Python can read`;
  return `its dtype ${JSON.stringify(descr)} is not supported, expected one of ${Object.keys(BY_KIND).join(", ")}`;
}

/**
 * The header that numpy writes, byte for byte: version 1.0, or 2.0 past 65,535 bytes, padded so that data starts at a
 * multiple of 64 bytes, with room for the first axis to grow to 21 digits.
 *
 * @throws {TypeError} If numpy has no such dtype (bfloat16).
 */
export function formatNpyHeader(dtype: DType, shape: readonly number[]): Uint8Array {
  const kind = KIND_OF[dtype] as string | undefined;
  if (kind === undefined) throw new TypeError(`Cannot write ${dtype} as .npy: numpy has no such dtype`);
  const descr = (kind.endsWith("1") ? "|" : "<") + kind;
  const size = shape.length === 1 ? `${shape[0]},` : shape.join(", ");
  const growth = shape.length ? " ".repeat(Math.max(0, 21 - String(shape[0]).length)) : "";
  const literal = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${size}), }${growth}`;
  const start = 10; // magic, version, length of the header
  const headerBytes = Math.ceil((start + literal.length + 1) / 64) * 64 - start;
  const text = `${literal.padEnd(headerBytes - 1)}\n`;
  return Buffer.concat([
    Buffer.from([0x93, ...Buffer.from("NUMPY"), 1, 0]),
    new Uint8Array(Uint16Array.of(text.length).buffer),
    Buffer.from(text, "latin1"),
  ]);
}

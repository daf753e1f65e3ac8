import { quote } from "../format-error.js";
import { dtypeBytes, elementCount, formatShape, type DType, type StoredDType } from "../tensor/dtype.js";

/** Where a tensor lies in a safetensors file, and what it is. */
export interface SafetensorsEntry {
  /** The file's own name of it, if it is a type that is not read here. */
  readonly dtype: StoredDType;
  readonly shape: readonly number[];
  /** First byte and end, counted from the end of the header. */
  readonly start: number;
  readonly end: number;
}

export interface SafetensorsHeader {
  readonly metadata: Readonly<Record<string, string>>;
  /** In the order of the file's data. */
  readonly tensors: ReadonlyMap<string, SafetensorsEntry>;
}

/** In the order in which the format's own writer puts them: by element size, large first. */
export const DTYPE_NAMES = {
  U64: "uint64",
  I64: "int64",
  F64: "float64",
  F32: "float32",
  U32: "uint32",
  I32: "int32",
  BF16: "bfloat16",
  F16: "float16",
  U16: "uint16",
  I16: "int16",
  I8: "int8",
  U8: "uint8",
  BOOL: "bool",
} as const satisfies Record<string, DType>;

/**
 * Types of the format that are not read here, and bits of an element. A type that is not even here may take any space.
 */
const FOREIGN_BITS: Readonly<Record<string, number>> = {
  ...{ F4: 4, F6_E2M3: 6, F6_E3M2: 6, C64: 64 },
  ...Object.fromEntries(["E4M3", "E5M2", "E8M0", "E4M3FNUZ", "E5M2FNUZ"].map((kind) => [`F8_${kind}`, 8])),
};

/**
 * Parses the JSON of a header. A parser of its own for this one grammar, because `JSON.parse` takes the last of two
 * equal keys in silence, and nests as deep as it is told.
 *
 * Source: https://github.com/huggingface/safetensors, README "Format" and the checks of `Metadata::validate`.
 *
 * @param text All of the header, with the spaces that pad it.
 * @param dataBytes Bytes after the header: the tensors fill them without gap or overlap.
 * @param fail Makes the error to throw.
 */
export function parseSafetensorsHeader(
  text: string,
  dataBytes: number,
  fail: (problem: string) => Error,
): SafetensorsHeader {
  const json = new StrictJson(text, fail);
  const metadata = Object.create(null) as Record<string, string>; // no prototype: any name is a name
  const found: [string, SafetensorsEntry][] = [];
  json.object((name) => {
    if (name === "__metadata__") json.object((key) => (metadata[key] = json.string()));
    else found.push([name, tensorOf(json, name, fail)]);
  });
  json.end();

  // Empty tensors lie at the end of others: order by end then brings them behind.
  found.sort(([, a], [, b]) => a.start - b.start || a.end - b.end);
  let previous: [name: string, end: number] = ["", 0];
  for (const [name, { start, end }] of found) {
    if (start < previous[1]) throw fail(`tensors ${quote(previous[0])} and ${quote(name)} overlap`);
    if (start > previous[1])
      throw fail(`bytes ${previous[1]} to ${start} before tensor ${quote(name)} belong to no tensor`);
    if (end > dataBytes)
      throw fail(`tensor ${quote(name)} ends at byte ${end} of the data, but the file holds ${dataBytes}`);
    previous = [name, end];
  }
  if (previous[1] !== dataBytes) throw fail(`the last ${dataBytes - previous[1]} bytes belong to no tensor`);
  return { metadata, tensors: new Map(found) };
}

function tensorOf(json: StrictJson, name: string, fail: (problem: string) => Error): SafetensorsEntry {
  const tensor = `tensor ${quote(name)}`;
  const found: { dtype?: string; shape?: number[]; offsets?: number[] } = {};
  json.object((key) => {
    if (key === "dtype") found.dtype = json.string();
    else if (key === "shape") found.shape = json.integers(`${tensor}: the shape`);
    else if (key === "data_offsets") found.offsets = json.integers(`${tensor}: data_offsets`);
    else throw fail(`${tensor} has the field ${quote(key)}, expected dtype, shape and data_offsets`);
  });
  const { dtype: dtypeName, shape, offsets } = found;
  if (dtypeName === undefined || shape === undefined || offsets === undefined)
    throw fail(`${tensor} lacks one of dtype, shape and data_offsets`);
  if (!/^[A-Z][A-Z0-9_]{0,31}$/.test(dtypeName)) throw fail(`${tensor} has the dtype ${quote(dtypeName)}`);
  const [start = 0, end = 0] = offsets;
  if (offsets.length !== 2 || start > end)
    throw fail(`${tensor} has the data_offsets [${offsets.slice(0, 3).join(", ")}]`);
  const dtype = Object.hasOwn(DTYPE_NAMES, dtypeName) ? DTYPE_NAMES[dtypeName as keyof typeof DTYPE_NAMES] : undefined;
  const size = dtype === undefined ? 1 : dtypeBytes(dtype);
  const bits =
    dtype === undefined ? (Object.hasOwn(FOREIGN_BITS, dtypeName) ? FOREIGN_BITS[dtypeName] : undefined) : size * 8;
  const needed =
    bits === undefined && !Number.isNaN(elementCount(shape)) ? end - start : (elementCount(shape) * (bits ?? NaN)) / 8;
  if (!(needed <= Number.MAX_SAFE_INTEGER))
    throw fail(`${tensor} has the shape ${formatShape(shape)}, more than can be counted`);
  if (end - start !== needed)
    throw fail(
      `${tensor} of ${dtypeName} ${formatShape(shape)} takes ${needed} bytes, but its offsets span ${end - start}`,
    );
  // The format's own writer sorts by element size, so that this holds; a file that breaks it was made by something
  // else.
  if (start % size !== 0)
    throw fail(`${tensor} is misaligned: it starts at byte ${start}, not at a multiple of ${size}`);
  return { dtype: dtype ?? dtypeName, shape, start, end };
}

/** Just enough JSON: objects without repeated keys, strings, arrays of non-negative integers. */
class StrictJson {
  private at = 0;

  constructor(
    private readonly text: string,
    private readonly fail: (problem: string) => Error,
  ) {}

  /** Calls `field` for each key; it takes the value. */
  object(field: (key: string) => void): void {
    const keys = new Set<string>();
    this.need("{");
    if (this.take("}")) return;
    do {
      const key = this.string();
      if (keys.has(key)) throw this.fail(`its header has the key ${quote(key)} twice`);
      keys.add(key);
      this.need(":");
      field(key);
    } while (this.take(","));
    this.need("}");
  }

  string(): string {
    this.skipSpace();
    if (this.text[this.at] !== '"') throw this.unexpected("a string");
    let end = this.at;
    do {
      end = this.text.indexOf('"', end + 1);
      if (end < 0) throw this.fail(`its header has a string without end at character ${this.at}`);
    } while (this.isEscaped(end));
    const literal = this.text.slice(this.at, end + 1);
    try {
      const value = JSON.parse(literal) as string;
      this.at = end + 1;
      return value;
    } catch {
      throw this.unexpected("a string");
    }
  }

  /**
   * Whether an odd number of backslashes stands before. Each is counted once per string: quotes after it are escaped or
   * end it.
   */
  private isEscaped(at: number): boolean {
    let slashes = 0;
    while (this.text[at - 1 - slashes] === "\\") slashes++;
    return slashes % 2 === 1;
  }

  integers(what: string): number[] {
    const values: number[] = [];
    this.need("[");
    if (this.take("]")) return values;
    do {
      this.skipSpace();
      const digits = /-?\d+(?![\d.eE])/y;
      digits.lastIndex = this.at;
      const literal = digits.exec(this.text)?.[0];
      const value = Number(literal);
      if (literal === undefined || (literal.length > 1 && /^-?0/.test(literal))) throw this.unexpected("an integer");
      if (literal.startsWith("-")) throw this.fail(`${what} holds ${quote(literal)}, expected 0 or more`);
      if (!Number.isSafeInteger(value)) throw this.fail(`${what} holds ${quote(literal)}, more than 2^53`);
      values.push(value);
      this.at += literal.length;
    } while (this.take(","));
    this.need("]");
    return values;
  }

  end(): void {
    this.skipSpace();
    if (this.at !== this.text.length) throw this.unexpected("its end");
  }

  private take(character: string): boolean {
    this.skipSpace();
    if (this.text[this.at] !== character) return false;
    this.at++;
    return true;
  }

  private need(character: string): void {
    if (!this.take(character)) throw this.unexpected(`"${character}"`);
  }

  private skipSpace(): void {
    while (" \n\r\t".includes(this.text[this.at] ?? "x")) this.at++;
  }

  private unexpected(expected: string): Error {
    return this.fail(
      `its header has ${quote(this.text.slice(this.at, this.at + 20))} at character ${this.at}, expected ${expected}`,
    );
  }
}

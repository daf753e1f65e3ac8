/**
 * As much of a WebAssembly assembler as this project's kernels need. An instruction with its operands is a list of
 * bytes, so that code is written as nested calls: `set(sum, f64x2.add(get(sum), get(x)))`.
 *
 * Source: WebAssembly Core Specification 2.0, chapter 5 (binary format).
 */
export type Code = readonly number[];

const TYPES = { i32: 0x7f, f64: 0x7c, v128: 0x7b } as const;
export type ValueType = keyof typeof TYPES;

/** A parameter or local variable of a function, by its number. */
export type Variable = number;

/** An unsigned number in base 128, as the format writes all sizes. */
function unsigned(value: number): number[] {
  const bytes = [];
  for (; value >= 0x80; value >>>= 7) bytes.push((value & 0x7f) | 0x80);
  return [...bytes, value];
}

function signed(value: number): number[] {
  const bytes = [];
  for (; value < -0x40 || value >= 0x40; value >>= 7) bytes.push((value & 0x7f) | 0x80);
  return [...bytes, value & 0x7f];
}

const operation =
  (...opcode: number[]) =>
  (...operands: Code[]): Code => [...operands.flat(), ...opcode];
const simd = (opcode: number): ((...operands: Code[]) => Code) => operation(0xfd, ...unsigned(opcode));

/**
 * Access to memory at `address` + `offset` bytes. The alignment is a hint; the one given is true of doubles and of
 * floats.
 */
const access =
  (...opcode: number[]) =>
  (address: Code, offset = 0, value: Code = []): Code => [...address, ...value, ...opcode, 2, ...unsigned(offset)];

export const i32 = {
  const: (value: number): Code => [0x41, ...signed(value)],
  add: operation(0x6a),
  sub: operation(0x6b),
  mul: operation(0x6c),
  eqz: operation(0x45),
} as const;

export const f64 = {
  load: access(0x2b),
  store: access(0x39),
  add: operation(0xa0),
  sub: operation(0xa1),
  mul: operation(0xa2),
} as const;

/** Two doubles. */
export const f64x2 = {
  load: access(0xfd, 0x00),
  /** One double from memory, in both places. */
  loadSplat: access(0xfd, 0x0a),
  store: access(0xfd, 0x0b),
  splat: simd(0x14),
  first: (pair: Code): Code => [...pair, 0xfd, 0x21, 0],
  second: (pair: Code): Code => [...pair, 0xfd, 0x21, 1],
  zero: [0xfd, 0x0c, ...new Array<number>(16).fill(0)] as Code,
  add: simd(0xf0),
  mul: simd(0xf2),
} as const;

/** Four floats. */
export const f32x4 = {
  load: access(0xfd, 0x00),
  /** One float from memory, in all places. */
  loadSplat: access(0xfd, 0x09),
  store: access(0xfd, 0x0b),
  /** A number known now, in all places. */
  splatOf: (value: number): Code => {
    const bytes = [...new Uint8Array(Float32Array.of(value).buffer)];
    return [0xfd, 0x0c, ...bytes, ...bytes, ...bytes, ...bytes];
  },
  abs: simd(0xe0),
  neg: simd(0xe1),
  sqrt: simd(0xe3),
  add: simd(0xe4),
  sub: simd(0xe5),
  mul: simd(0xe6),
  div: simd(0xe7),
} as const;

/** The sum of a pair. `x` is read twice. */
export const sumOfPair = (x: Variable): Code => f64.add(f64x2.first(get(x)), f64x2.second(get(x)));

export const get = (x: Variable): Code => [0x20, ...unsigned(x)];
export const set = (x: Variable, value: Code): Code => [...value, 0x21, ...unsigned(x)];
/** Adds bytes to an address, or to a count. */
export const advance = (x: Variable, by: Code): Code => set(x, i32.add(get(x), by));

/** Runs the code `counter` times, counting it down to zero; not at all if it is zero. */
export const repeat = (counter: Variable, ...code: Code[]): Code => [
  ...[0x02, 0x40, 0x03, 0x40], // block, loop
  ...[...i32.eqz(get(counter)), 0x0d, 1], // leave the block
  ...code.flat(),
  ...advance(counter, i32.const(-1)),
  ...[0x0c, 0, 0x0b, 0x0b], // again; end, end
];

/** A function in the making. */
export class Assembly {
  readonly name: string;
  readonly parameters: readonly ValueType[];
  readonly result: ValueType | undefined;
  readonly locals: ValueType[] = [];
  code: Code = [];

  constructor(name: string, parameters: readonly ValueType[], result?: ValueType) {
    this.name = name;
    this.parameters = parameters;
    this.result = result;
  }

  /** A new local variable, zero at first. */
  local(type: ValueType): Variable {
    return this.parameters.length + this.locals.push(type) - 1;
  }

  /** `count` new local variables. */
  localsOf(type: ValueType, count: number): Variable[] {
    return Array.from({ length: count }, () => this.local(type));
  }
}

const vector = (items: readonly Code[]): number[] => [...unsigned(items.length), ...items.flat()];
const sized = (code: Code): number[] => [...unsigned(code.length), ...code];
const section = (id: number, items: readonly Code[]): number[] => [id, ...sized(vector(items))];
const text = (name: string): number[] => sized([...Buffer.from(name)]);

/** Pages of the largest memory there is: 4 GiB. */
const MAX_PAGES = 65536;

/**
 * A module that exports the functions by their names, and imports its memory as "memory" of "env": one that threads
 * share if that is said.
 */
export function assemble(
  functions: readonly Assembly[],
  { shared = false }: { readonly shared?: boolean } = {},
): Uint8Array<ArrayBuffer> {
  const types = functions.map(({ parameters, result }) => [
    0x60,
    ...vector(parameters.map((type) => [TYPES[type]])),
    ...vector(result === undefined ? [] : [[TYPES[result]]]),
  ]);
  const bodies = functions.map(({ locals, code }) =>
    sized([...vector(locals.map((type) => [1, TYPES[type]])), ...code, 0x0b]),
  );
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, types),
    ...section(2, [
      [...text("env"), ...text("memory"), 0x02, ...(shared ? [0x03, 0, ...unsigned(MAX_PAGES)] : [0x00, 0])],
    ]),
    ...section(
      3,
      functions.map((_, i) => unsigned(i)),
    ), // function i has type i
    ...section(
      7,
      functions.map(({ name }, i) => [...text(name), 0x00, ...unsigned(i)]),
    ),
    ...section(10, bodies),
  ]);
}

import { OrderedDict } from "./ordered-dict.js";

/** A Python float, whatever its value: a plain `1` would be an int. */
export interface PyFloat {
  readonly kind: "float";
  readonly value: number;
}

/** Marks a number as a Python float, for values that may be whole: a learning rate of 1. */
export function pyFloat(value: number): PyFloat {
  return { kind: "float", value };
}

/** A call whose result is the value. */
export class PickleCall {
  constructor(
    readonly name: string,
    readonly args: readonly unknown[],
  ) {}
}

/** A value that the reader finds by itself, by this id. */
export class PersistentId {
  constructor(readonly id: readonly unknown[]) {}
}

/** Deep enough for any data. */
const MAX_DEPTH = 500;

/**
 * Writes a pickle of protocol 2, the one that PyTorch writes: its loader for untrusted files reads no other.
 *
 * null, boolean and string are None, bool and str; a whole number below 2⁵³ is an int and any other a float; a bigint
 * is an int; Uint8Array is bytes; an array is a list, a frozen array a tuple; a Map or a plain object is a dict;
 * OrderedDict and Set are themselves. Strings and containers that occur twice are one object when read. Other objects
 * are `writeObject`'s.
 */
export class PickleWriter {
  private readonly bytes: number[] = [0x80, 2]; // PROTO 2
  private readonly parts: Uint8Array[] = [];
  private readonly memo = new Map<unknown, number>();
  private readonly open = new Set<object>(); // containers that are being written

  /** The keys of the dicts that are being written, outermost first: where a value is, for messages. */
  readonly path: unknown[] = [];

  /**
   * @param writeObject Writes an object with a `kind`, by the methods of this writer. False if it cannot.
   */
  constructor(private readonly writeObject: (value: object, writer: PickleWriter) => boolean) {}

  /** Ends the pickle. */
  finish(): Uint8Array {
    this.op(0x2e); // STOP
    this.spill();
    return Buffer.concat(this.parts);
  }

  /**
   * Writes a value.
   *
   * @throws {TypeError} If Python has nothing like it. {RangeError} If it is nested more than 500 deep, or holds
   *   itself.
   */
  value(value: unknown): void {
    if (value === null) return this.op(0x4e);
    if (typeof value === "boolean") return this.op(value ? 0x88 : 0x89);
    if (typeof value === "string") return this.text(value);
    if (typeof value === "bigint") return this.integer(value);
    if (typeof value === "number")
      return Number.isSafeInteger(value) && !Object.is(value, -0) ? this.integer(value) : this.float(value);
    if (typeof value !== "object") throw new TypeError(`Cannot pickle a value of type ${typeof value}`);
    if (this.open.size === MAX_DEPTH)
      throw new RangeError(`Cannot pickle a value nested more than ${MAX_DEPTH} levels deep`);
    if (this.open.has(value)) throw new RangeError("Cannot pickle a value that holds itself");
    this.open.add(value);
    this.object(value);
    this.open.delete(value);
  }

  private object(value: object): void {
    if ((value as Partial<PyFloat>).kind === "float") return this.float((value as PyFloat).value);
    if (value instanceof PickleCall) return this.call(value.name, value.args);
    if (value instanceof PersistentId) {
      this.tuple(value.id);
      return this.op(0x51); // BINPERSID
    }
    if (this.writeObject(value, this)) return;
    if (this.recall(value)) return;
    if (value instanceof Uint8Array) {
      // Protocol 2 has no bytes: they are text of the characters 0 to 255.
      return this.call("_codecs.encode", [Buffer.from(value).toString("latin1"), "latin1"]);
    }
    if (Array.isArray(value)) {
      if (Object.isFrozen(value)) {
        this.tuple(value);
        return this.remember(value);
      }
      this.op(0x5d); // EMPTY_LIST
      this.remember(value);
      if (value.length) {
        this.op(0x28); // MARK
        for (const item of value as unknown[]) this.value(item);
        this.op(0x65); // APPENDS
      }
      return;
    }
    if (value instanceof Set) return this.call("__builtin__.set", [[...(value as Set<unknown>)]]);
    if (value instanceof OrderedDict) {
      this.call("collections.OrderedDict", []);
      this.remember(value);
      this.items(value);
      if (value.attributes) this.state(value.attributes);
      return;
    }
    const prototype: unknown = Object.getPrototypeOf(value);
    const isPlain = prototype === null || Object.getPrototypeOf(prototype) === null; // of any realm
    if (!(value instanceof Map) && !isPlain)
      throw new TypeError(`Cannot pickle an object of class ${value.constructor.name}`);
    this.op(0x7d); // EMPTY_DICT
    this.remember(value);
    this.items(value instanceof Map ? value : Object.entries(value));
  }

  /** Sets items of the dict that was written last. */
  items(items: Iterable<readonly [unknown, unknown]>): void {
    let any = false;
    for (const [key, value] of items) {
      if (!any) this.op(0x28); // MARK
      any = true;
      this.value(key);
      this.path.push(key);
      this.value(value);
      this.path.pop();
    }
    if (any) this.op(0x75); // SETITEMS
  }

  /** Sets the state of the object that was written last. */
  state(attributes: Iterable<readonly [unknown, unknown]>): void {
    this.op(0x7d); // EMPTY_DICT
    this.items(attributes);
    this.op(0x62); // BUILD
  }

  /** Writes a class or function: `torch.FloatStorage`. */
  global(name: string): void {
    if (this.recall(name, "global")) return;
    const dot = name.lastIndexOf(".");
    this.op(0x63, ...Buffer.from(`${name.slice(0, dot)}\n${name.slice(dot + 1)}\n`)); // GLOBAL
    this.remember(name, "global");
  }

  /** Writes a call. */
  call(name: string, args: readonly unknown[]): void {
    this.global(name);
    this.tuple(args);
    this.op(0x52); // REDUCE
  }

  /** Writes an instance of a class, with these attributes. */
  instance(name: string, attributes: Iterable<readonly [unknown, unknown]>): void {
    this.global(name);
    this.op(0x29, 0x81); // EMPTY_TUPLE, NEWOBJ
    this.state(attributes);
  }

  private tuple(items: readonly unknown[]): void {
    if (items.length === 0) return this.op(0x29); // EMPTY_TUPLE
    if (items.length > 3) this.op(0x28); // MARK
    for (const item of items) this.value(item);
    this.op(items.length > 3 ? 0x74 : 0x84 + items.length); // TUPLE, TUPLE1 to TUPLE3
  }

  private text(value: string): void {
    if (this.recall(value)) return;
    const encoded = Buffer.from(value, "utf8");
    this.op(0x58, ...uint32(encoded.length)); // BINUNICODE
    this.raw(encoded);
    this.remember(value);
  }

  private integer(value: number | bigint): void {
    const integer = BigInt(value);
    if (integer >= 0n && integer < 256n) return this.op(0x4b, Number(integer)); // BININT1
    if (BigInt.asIntN(32, integer) === integer) return this.op(0x4a, ...uint32(Number(integer) >>> 0)); // BININT
    let size = 8;
    while (BigInt.asIntN(8 * size, integer) !== integer) size++;
    if (size > 255) throw new RangeError("Cannot pickle an integer of more than 255 bytes");
    const digits = BigInt.asUintN(8 * size, integer)
      .toString(16)
      .padStart(2 * size, "0");
    this.op(0x8a, size, ...Buffer.from(digits, "hex").reverse()); // LONG1
  }

  private float(value: number): void {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setFloat64(0, value);
    this.op(0x47, ...bytes); // BINFLOAT, big-endian
  }

  private recall(value: unknown, space = ""): boolean {
    const index = this.memo.get(space ? `${space}:${String(value)}` : this.keyOf(value));
    if (index === undefined) return false;
    if (index < 256)
      this.op(0x68, index); // BINGET
    else this.op(0x6a, ...uint32(index)); // LONG_BINGET
    return true;
  }

  private remember(value: unknown, space = ""): void {
    const index = this.memo.size;
    this.memo.set(space ? `${space}:${String(value)}` : this.keyOf(value), index);
    if (index < 256)
      this.op(0x71, index); // BINPUT
    else this.op(0x72, ...uint32(index)); // LONG_BINPUT
  }

  private keyOf(value: unknown): unknown {
    return typeof value === "string" ? `text:${value}` : value;
  }

  private op(...bytes: number[]): void {
    this.bytes.push(...bytes);
    if (this.bytes.length > 65536) this.spill();
  }

  private raw(bytes: Uint8Array): void {
    this.spill();
    this.parts.push(bytes);
  }

  private spill(): void {
    this.parts.push(Uint8Array.from(this.bytes));
    this.bytes.length = 0;
  }
}

const uint32 = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer);

import { quote } from "../format-error.js";
import { PickleGlobal } from "./global.js";
import { OrderedDict } from "./ordered-dict.js";

export interface UnpickleOptions {
  /** What a global stands for, or undefined: then it is an error that names it. Nothing is imported. */
  readonly findGlobal: (module: string, name: string) => unknown;
  /** What a persistent id stands for (in PyTorch's files, a storage), or undefined: then it is an error. */
  readonly persistentLoad: (id: unknown) => unknown;
  /** Sets an object's state, or returns false if it takes none. */
  readonly build: (object: unknown, state: unknown) => boolean;
  /**
   * Makes the error to throw.
   *
   * @param atEnd Whether it is that the bytes end: with more of them, the pickle might go on.
   */
  readonly fail: (problem: string, atEnd?: boolean) => Error;
}

/**
 * How many values may be made, a container counting as four. PyTorch writes some thirty per tensor, so this is a
 * checkpoint of 100,000 tensors; in memory it stays below half a gigabyte, whatever the pickle is.
 */
const MAX_VALUES = 4_000_000;
const CONTAINER = 4;

/** Python integers are unbounded; past this they are an attack. */
const MAX_INTEGER_BYTES = 256;

/** A module's or a class's name. */
const MAX_LINE_BYTES = 1000;

/**
 * Runs a pickle of protocol 2 to 5. It can make plain values, and what the caller's table of globals makes; there is no
 * way from a pickle to any other code.
 *
 * Every instruction takes at least one byte and works in the time of its operands, and what it makes is counted, so a
 * pickle can neither hang nor fill the memory. The result may hold itself or be a small graph that is a huge tree:
 * `checkTree` looks for that.
 *
 * None, bool and str are null, boolean and string; an int is a number, or a bigint past 2⁵³; bytes and bytearray are
 * Uint8Array; a list is an array, a tuple a frozen array; a dict is a Map, a set a Set.
 *
 * Source: CPython's `Lib/pickletools.py`, which describes each instruction.
 */
export function unpickle(bytes: Uint8Array, options: UnpickleOptions): unknown {
  return new Machine(bytes, options).run();
}

/**
 * Runs the pickle that bytes start with.
 *
 * @returns `length`: bytes that it takes.
 */
export function unpickleStart(bytes: Uint8Array, options: UnpickleOptions): { value: unknown; length: number } {
  const machine = new Machine(bytes, options);
  const value = machine.run();
  return { value, length: machine.bytesRun };
}

class Machine {
  private readonly view: DataView;
  private readonly memo = new Map<number, unknown>();
  private readonly below: unknown[][] = []; // the stacks that marks have covered
  private stack: unknown[] = [];
  private at = 0;
  private values = 0;

  constructor(
    private readonly bytes: Uint8Array,
    private readonly options: UnpickleOptions,
  ) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Bytes run so far. */
  get bytesRun(): number {
    return this.at;
  }

  run(): unknown {
    for (;;) {
      const start = this.at;
      const opcode = this.take(1)[0] ?? 0;
      if (opcode === 0x2e) {
        const result = this.pop();
        if (this.stack.length || this.below.length) throw this.fail("its pickle ends with more than one value");
        return result;
      }
      if (!this.step(opcode))
        throw this.fail(`instruction 0x${hex(opcode)} at byte ${start} is not one of pickle protocols 2 to 5`);
    }
  }

  /** Runs one instruction. False if there is none of that code. */
  private step(opcode: number): boolean {
    switch (opcode) {
      case 0x80: {
        // PROTO
        const protocol = this.uint(1);
        if (protocol < 2 || protocol > 5) throw this.fail(`its pickle has protocol ${protocol}, expected 2 to 5`);
        return true;
      }
      case 0x95: // FRAME: a hint for readers of streams
        this.length(8);
        return true;

      case 0x4e:
        return this.push(null); // NONE
      case 0x88:
        return this.push(true); // NEWTRUE
      case 0x89:
        return this.push(false); // NEWFALSE
      case 0x4a:
        return this.push(this.uint(4) | 0); // BININT
      case 0x4b:
        return this.push(this.uint(1)); // BININT1
      case 0x4d:
        return this.push(this.uint(2)); // BININT2
      case 0x8a:
        return this.push(this.integer(this.uint(1))); // LONG1
      case 0x8b:
        return this.push(this.integer(this.uint(4))); // LONG4
      case 0x47:
        return this.push(this.float()); // BINFLOAT
      case 0x8c:
        return this.push(this.text(this.length(1))); // SHORT_BINUNICODE
      case 0x58:
        return this.push(this.text(this.length(4))); // BINUNICODE
      case 0x8d:
        return this.push(this.text(this.length(8))); // BINUNICODE8
      case 0x55:
        return this.push(this.text(this.length(1))); // SHORT_BINSTRING: Python 2
      case 0x54:
        return this.push(this.text(this.length(4))); // BINSTRING
      case 0x43:
        return this.push(Uint8Array.from(this.take(this.length(1)))); // SHORT_BINBYTES
      case 0x42:
        return this.push(Uint8Array.from(this.take(this.length(4)))); // BINBYTES
      case 0x8e: // BINBYTES8
      case 0x96: // BYTEARRAY8
        return this.push(Uint8Array.from(this.take(this.length(8))));

      case 0x28: // MARK
        this.charge(CONTAINER);
        this.below.push(this.stack);
        this.stack = [];
        return true;
      case 0x30: // POP: of a mark, if nothing is above it
        if (this.stack.length) this.stack.pop();
        else this.popMark();
        return true;
      case 0x31: // POP_MARK
        this.popMark();
        return true;
      case 0x32:
        return this.push(this.top()); // DUP

      case 0x29:
        return this.push(tuple([]), CONTAINER); // EMPTY_TUPLE
      case 0x85: // TUPLE1
      case 0x86: // TUPLE2
      case 0x87: // TUPLE3
        return this.push(tuple(this.popN(opcode - 0x84)), CONTAINER);
      case 0x74:
        return this.push(tuple(this.popMark()), CONTAINER); // TUPLE
      case 0x5d:
        return this.push([], CONTAINER); // EMPTY_LIST
      case 0x6c:
        return this.push(this.popMark(), CONTAINER); // LIST
      case 0x61:
        this.append(this.popN(1));
        return true; // APPEND
      case 0x65:
        this.append(this.popMark());
        return true; // APPENDS
      case 0x7d:
        return this.push(new Map(), CONTAINER); // EMPTY_DICT
      case 0x64: {
        // DICT
        const items = this.popMark();
        this.push(new Map(), CONTAINER);
        this.setItems(items);
        return true;
      }
      case 0x73:
        this.setItems(this.popN(2));
        return true; // SETITEM
      case 0x75:
        this.setItems(this.popMark());
        return true; // SETITEMS
      case 0x8f:
        return this.push(new Set(), CONTAINER); // EMPTY_SET
      case 0x90: {
        // ADDITEMS
        const items = this.popMark();
        const set = this.top();
        if (!(set instanceof Set)) throw this.fail("its pickle adds items to what is no set");
        for (const item of items) set.add(this.hashable(item));
        return true;
      }
      case 0x91:
        return this.push(new Set(this.popMark().map((item) => this.hashable(item))), CONTAINER); // FROZENSET

      case 0x68:
        return this.push(this.recall(this.uint(1))); // BINGET
      case 0x6a:
        return this.push(this.recall(this.uint(4))); // LONG_BINGET
      case 0x71:
        this.remember(this.uint(1));
        return true; // BINPUT
      case 0x72:
        this.remember(this.uint(4));
        return true; // LONG_BINPUT
      case 0x94:
        this.remember(this.memo.size);
        return true; // MEMOIZE

      case 0x63: {
        // GLOBAL
        const module = this.line();
        return this.push(this.global(module, this.line()));
      }
      case 0x93: {
        // STACK_GLOBAL
        const [module, name] = this.popN(2);
        if (typeof module !== "string" || typeof name !== "string")
          throw this.fail("its pickle names a global by something else than strings");
        return this.push(this.global(module, name));
      }
      case 0x52: // REDUCE
      case 0x81: {
        // NEWOBJ
        const [callee, args] = this.popN(2);
        return this.push(this.call(callee, args), CONTAINER);
      }
      case 0x92: {
        // NEWOBJ_EX
        const [callee, args, keywords] = this.popN(3);
        if (!(keywords instanceof Map) || keywords.size)
          throw this.fail("its pickle makes an object with keyword arguments");
        return this.push(this.call(callee, args), CONTAINER);
      }
      case 0x62: {
        // BUILD
        const [state] = this.popN(1);
        const object = this.top();
        if (state instanceof Map) this.charge(state.size);
        if (!this.options.build(object, state))
          throw this.fail(`its pickle sets the state of ${describe(object)}, which takes none`);
        return true;
      }
      case 0x51: {
        // BINPERSID
        const loaded = this.options.persistentLoad(this.pop());
        if (loaded === undefined) throw this.fail("its pickle has a persistent id, expected none");
        return this.push(loaded, CONTAINER);
      }
      default:
        return false;
    }
  }

  private push(value: unknown, cost = 1): true {
    this.charge(cost);
    this.stack.push(value);
    return true;
  }

  private charge(count: number): void {
    this.values += count;
    if (this.values > MAX_VALUES) throw this.fail(`its pickle makes more than ${MAX_VALUES} values`);
  }

  private pop(): unknown {
    return this.popN(1)[0];
  }

  private popN(count: number): unknown[] {
    if (this.stack.length < count) throw this.fail(`its pickle takes from an empty stack at byte ${this.at - 1}`);
    return this.stack.splice(this.stack.length - count);
  }

  private top(): unknown {
    if (!this.stack.length) throw this.fail(`its pickle takes from an empty stack at byte ${this.at - 1}`);
    return this.stack[this.stack.length - 1];
  }

  private popMark(): unknown[] {
    const items = this.stack;
    const below = this.below.pop();
    if (!below) throw this.fail(`its pickle lacks a mark at byte ${this.at - 1}`);
    this.stack = below;
    return items;
  }

  private append(items: unknown[]): void {
    const list = this.top();
    if (!Array.isArray(list) || Object.isFrozen(list)) throw this.fail("its pickle appends to what is no list");
    for (const item of items) list.push(item);
  }

  private setItems(items: unknown[]): void {
    const dict = this.top();
    if (!(dict instanceof Map)) throw this.fail("its pickle sets items of what is no dict");
    if (items.length % 2) throw this.fail("its pickle sets a key without a value");
    for (let i = 0; i < items.length; i += 2) dict.set(this.hashable(items[i]), items[i + 1]);
  }

  /** A key of a dict or an item of a set. A tuple is found again by being the same one. */
  private hashable(key: unknown): unknown {
    const mutable = (Array.isArray(key) && !Object.isFrozen(key)) || key instanceof Map;
    if (mutable) throw this.fail(`its pickle has ${describe(key)} for a key`);
    return key;
  }

  private recall(index: number): unknown {
    if (!this.memo.has(index)) throw this.fail(`its pickle recalls value ${index}, which was not stored`);
    return this.memo.get(index);
  }

  private remember(index: number): void {
    this.charge(1);
    this.memo.set(index, this.top());
  }

  private global(module: string, name: string): unknown {
    const found = this.options.findGlobal(module, name);
    if (found === undefined) throw this.fail(`its pickle uses ${quote(`${module}.${name}`)}, which is not allowed`);
    return found;
  }

  private call(callee: unknown, args: unknown): unknown {
    if (!(callee instanceof PickleGlobal)) throw this.fail(`its pickle calls ${describe(callee)}`);
    if (!Array.isArray(args) || !Object.isFrozen(args))
      throw this.fail(`its pickle calls ${callee.name} without a tuple of arguments`);
    if (!callee.call) throw this.fail(`its pickle calls ${callee.name}, which is not allowed`);
    // What is made from a list or from bytes copies them: count that, or a loop of calls would fill the memory.
    for (const arg of args as unknown[]) this.charge(sizeOf(arg));
    const made = callee.call(args as unknown[]);
    if (made === undefined) throw this.fail(`its pickle calls ${callee.name} with arguments that it does not take`);
    return made;
  }

  private take(count: number): Uint8Array {
    if (this.at + count > this.bytes.length)
      throw this.fail(`its pickle ends at byte ${this.bytes.length}, in the middle of ${count} bytes`, true);
    const taken = this.bytes.subarray(this.at, this.at + count);
    this.at += count;
    return taken;
  }

  private uint(size: 1 | 2 | 4): number {
    this.take(size);
    const at = this.at - size;
    return size === 1
      ? this.view.getUint8(at)
      : size === 2
        ? this.view.getUint16(at, true)
        : this.view.getUint32(at, true);
  }

  /** A length: never more than what is left, so that nothing is allocated for a lie. */
  private length(size: 1 | 4 | 8): number {
    const value = size === 8 ? this.uint(4) + this.uint(4) * 2 ** 32 : this.uint(size);
    if (value > this.bytes.length - this.at)
      throw this.fail(
        `its pickle has a length of ${value} at byte ${this.at - size}, but ${this.bytes.length - this.at} bytes are left`,
        true,
      );
    return value;
  }

  private float(): number {
    this.take(8);
    return this.view.getFloat64(this.at - 8); // big-endian
  }

  /** Two's complement, little-endian. */
  private integer(size: number): number | bigint {
    if (size > MAX_INTEGER_BYTES)
      throw this.fail(`its pickle has an integer of ${size} bytes, more than ${MAX_INTEGER_BYTES}`);
    const digits = Buffer.from(this.take(size)).reverse().toString("hex");
    const value = size ? BigInt.asIntN(8 * size, BigInt(`0x${digits}`)) : 0n;
    return Number.isSafeInteger(Number(value)) ? Number(value) : value; // past 2^53 a double is never safe
  }

  private text(size: number): string {
    const bytes = this.take(size);
    // Python writes lone surrogates; they become U+FFFD.
    return Buffer.from(bytes.buffer, bytes.byteOffset, size).toString("utf8");
  }

  private line(): string {
    const end = this.bytes.indexOf(0x0a, this.at);
    if (end < 0 || end - this.at > MAX_LINE_BYTES)
      throw this.fail(
        `its pickle has no end of line after byte ${this.at}`,
        end < 0 && this.bytes.length - this.at <= MAX_LINE_BYTES,
      );
    const text = this.text(end - this.at);
    this.at++;
    return text;
  }

  private fail(problem: string, atEnd = false): Error {
    return this.options.fail(problem, atEnd);
  }
}

function tuple(items: unknown[]): readonly unknown[] {
  return Object.freeze(items);
}

function sizeOf(value: unknown): number {
  if (Array.isArray(value)) return value.length;
  if (value instanceof Map || value instanceof Set) return value.size;
  if (typeof value === "string" || value instanceof Uint8Array) return value.length / 64;
  return 0;
}

function describe(value: unknown): string {
  if (value === null) return "None";
  if (Array.isArray(value)) return Object.isFrozen(value) ? "a tuple" : "a list";
  if (value instanceof OrderedDict) return "an OrderedDict";
  if (value instanceof Map) return "a dict";
  if (value instanceof Set) return "a set";
  if (value instanceof PickleGlobal) return value.name;
  const kind = typeof value === "object" ? (value as { kind?: unknown }).kind : undefined;
  return `a ${typeof kind === "string" ? kind : typeof value}`;
}

const hex = (byte: number): string => byte.toString(16).padStart(2, "0");

import koffi, { type KoffiFunc } from "koffi";
import { loadForGood } from "../../native/keep.js";
import { reserveStacks } from "../../native/stacks.js";
import { requireSameMachine } from "./elf.js";
import { bytesAt, Struct, textAt, type FieldsOf, type Pointer } from "./pjrt-struct.js";
import {
  API,
  CALLS,
  ERROR_CODES,
  KNOWN_VERSION,
  NAMED_VALUE,
  RECORDS,
  VALUE_TYPE,
  type CallName,
} from "./pjrt-table.js";

/** What is said to be a structure's besides, where a plugin is newer than the table: its new fields are zero. */
const SLACK_BYTES = 256;

/** What a plugin said of a call. */
export class PjrtError extends Error {
  override name = "PjrtError";
  /** Such as `RESOURCE_EXHAUSTED`. */
  readonly code: string;

  constructor(call: string, code: string, message: string) {
    super(`XLA: ${call}: ${code}: ${message.replace(/[.\s]+$/, "")}`);
    this.code = code;
  }
}

type PluginFunction = KoffiFunc<(args: Pointer) => Pointer | null>;

/** A call's arguments, with what it wrote into them. */
export type Call<Name extends CallName> = Struct<(typeof CALLS)[Name]>;

/** A structure that a call points to. */
export type PluginRecord<Name extends keyof typeof RECORDS> = Struct<(typeof RECORDS)[Name]>;

/** A PJRT plugin: one library with one symbol, which gives a table of functions. */
export class Plugin {
  readonly path: string;
  readonly version: { readonly major: number; readonly minor: number };
  /** What it says of itself: `xla_version`, `stablehlo_current_version` and so on. */
  readonly attributes: ReadonlyMap<string, string>;
  private readonly functions: ReadonlyMap<CallName, PluginFunction>;
  private readonly slack: number;

  private constructor(path: string, api: Pointer) {
    this.path = path;
    this.version = versionOf(path, api);
    this.slack = this.version.minor > KNOWN_VERSION.minor ? SLACK_BYTES : 0;
    this.functions = functionsOf(path, api);
    this.call("Plugin_Initialize");
    this.attributes = this.readAttributes();
  }

  /**
   * Loads a plugin for good.
   *
   * @throws {Error} If it is no library of this machine's, no plugin, or of a version that is not known: one sentence.
   */
  static load(path: string): Plugin {
    reserveStacks();
    requireSameMachine(path);
    const library = loadForGood(path);
    let getApi: () => Pointer | null;
    try {
      getApi = library.func("GetPjrtApi", "void *", []) as typeof getApi;
    } catch (cause) {
      throw new Error(`Cannot use ${JSON.stringify(path)}: it is no PJRT plugin, for it has no GetPjrtApi`, { cause });
    }
    const api = getApi();
    if (api === null) throw new Error(`Cannot use ${JSON.stringify(path)}: its GetPjrtApi gives nothing`);
    return Plugin.over(path, api);
  }

  /** A plugin whose table lies at an address. */
  static over(path: string, api: Pointer): Plugin {
    return new Plugin(path, api);
  }

  /** A call's arguments: to be filled in and used again, where it is called often. */
  prepare<Name extends CallName>(name: Name, values: FieldsOf<(typeof CALLS)[Name]> = {}): Call<Name> {
    return new Struct(CALLS[name], values, this.slack);
  }

  /** A structure that a call points to. */
  record<Name extends keyof typeof RECORDS>(
    name: Name,
    values: FieldsOf<(typeof RECORDS)[Name]> = {},
  ): PluginRecord<Name> {
    return new Struct(RECORDS[name], values, this.slack);
  }

  /** @throws {PjrtError} What the plugin says. */
  call<Name extends CallName>(name: Name, values: FieldsOf<(typeof CALLS)[Name]> = {}): Call<Name> {
    const args = this.prepare(name, values);
    this.invoke(name, args);
    return args;
  }

  /** Calls with arguments that were prepared. */
  invoke<Name extends CallName>(name: Name, args: Call<Name>): void {
    this.check(name, this.functionOf(name)(args.address));
  }

  /** As `call`, on another thread. */
  async callAsync<Name extends CallName>(name: Name, values: FieldsOf<(typeof CALLS)[Name]> = {}): Promise<Call<Name>> {
    const args = this.prepare(name, values);
    await this.invokeAsync(name, args);
    return args;
  }

  /** As `invoke`, on another thread. */
  invokeAsync<Name extends CallName>(name: Name, args: Call<Name>): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      this.functionOf(name).async(args.address, (failure: unknown, error: Pointer | null) => {
        try {
          if (failure) throw failure as Error;
          this.check(name, error);
          resolve();
        } catch (cause) {
          reject(cause);
        }
      });
    }).finally(() => void args.address); // what the plugin reads is in use until the call ends
  }

  /** Whether it has a function that a plugin may leave out. */
  has(name: CallName): boolean {
    return this.functions.has(name);
  }

  private functionOf(name: CallName): PluginFunction {
    const found = this.functions.get(name);
    if (!found) throw new PjrtError(name, "UNIMPLEMENTED", `the plugin ${JSON.stringify(this.path)} does not have it`);
    return found;
  }

  private check(name: CallName, error: Pointer | null): void {
    if (error === null || error === 0n) return;
    // These two give nothing back.
    const message = this.prepare("Error_Message", { error });
    this.functionOf("Error_Message")(message.address);
    const text = textAt(message.pointer("message"), message.number("message_size"));
    const code = this.prepare("Error_GetCode", { error });
    this.functionOf("Error_GetCode")(code.address);
    this.functionOf("Error_Destroy")(this.prepare("Error_Destroy", { error }).address);
    throw new PjrtError(name, ERROR_CODES[code.number("code")] ?? `error ${code.number("code")}`, text);
  }

  private readAttributes(): Map<string, string> {
    const made = this.call("Plugin_Attributes");
    const count = made.number("num_attributes");
    const first = made.pointer("attributes");
    return new Map(
      Array.from({ length: count }, (_, i): [string, string] => {
        const view = new DataView(bytesAt(first + BigInt(i * NAMED_VALUE.size), NAMED_VALUE.size).buffer);
        const word = (at: number): bigint => view.getBigUint64(at, true);
        return [textAt(word(NAMED_VALUE.name), Number(word(NAMED_VALUE.nameSize))), valueText(view)];
      }),
    );
  }
}

function valueText(view: DataView): string {
  const size = Number(view.getBigUint64(NAMED_VALUE.valueSize, true));
  const pointer = view.getBigUint64(NAMED_VALUE.value, true);
  switch (view.getInt32(NAMED_VALUE.type, true)) {
    case VALUE_TYPE.string:
      return textAt(pointer, size);
    case VALUE_TYPE.int64:
      return String(view.getBigInt64(NAMED_VALUE.value, true));
    case VALUE_TYPE.int64List:
      return [...new BigInt64Array(bytesAt(pointer, 8 * size).buffer)].join(".");
    case VALUE_TYPE.float:
      return String(view.getFloat32(NAMED_VALUE.value, true));
    default:
      return String(view.getUint8(NAMED_VALUE.value) !== 0);
  }
}

/** @throws {Error} If the table is of a version whose structures are not known. */
function versionOf(path: string, api: Pointer): { readonly major: number; readonly minor: number } {
  const view = new DataView(bytesAt(api, API.functions).buffer);
  const [major, minor] = [view.getInt32(API.major, true), view.getInt32(API.minor, true)];
  const { major: expected, oldest } = KNOWN_VERSION;
  if (major !== expected || minor < oldest)
    throw new Error(
      `Cannot use ${JSON.stringify(path)}: it speaks PJRT ${major}.${minor}, expected ${expected}.${oldest} or a later ${expected}.x`,
    );
  return { major, minor };
}

/** @throws {Error} If one is missing that every program needs. */
function functionsOf(path: string, api: Pointer): Map<CallName, PluginFunction> {
  const size = Number(new DataView(bytesAt(api, API.functions).buffer).getBigUint64(API.size, true));
  const count = Math.max(0, Math.floor((size - API.functions) / 8));
  const table = new BigUint64Array(bytesAt(api + BigInt(API.functions), 8 * count).buffer);
  const type = koffi.proto("void *", ["void *"]);
  const found = (Object.keys(CALLS) as CallName[]).flatMap((name): [CallName, PluginFunction][] => {
    const address = table[CALLS[name].slot] ?? 0n;
    return address === 0n ? [] : [[name, koffi.decode(address, type) as PluginFunction]];
  });
  const functions = new Map(found);
  const missing = (Object.keys(CALLS) as CallName[]).filter((name) => !functions.has(name) && !OPTIONAL.has(name));
  if (missing.length > 0) throw new Error(`Cannot use ${JSON.stringify(path)}: its PJRT has no ${missing.join(", ")}`);
  return functions;
}

/** What a plugin may leave out: then less is known, or compiled again. */
const OPTIONAL: ReadonlySet<CallName> = new Set([
  "Device_MemoryStats",
  "Executable_GetCompiledMemoryStats",
  "Executable_OptimizedProgram",
  "Executable_Serialize",
  "Executable_DeserializeAndLoad",
]);

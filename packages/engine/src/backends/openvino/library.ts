import { readdirSync } from "node:fs";
import { join } from "node:path";
import koffi, { type KoffiFunc, type TypeObject } from "koffi";
import type { Buffer, Pointer, TensorRuntime } from "../../bound/memory.js";
import { installFolder } from "../../installs/folder.js";
import { loadForGood } from "../../native/keep.js";
import { reserveStacks } from "../../native/stacks.js";

/**
 * OpenVINO's C interface, called directly in the library of the PyPI wheel `openvino`, which `madformer engines
 * install` unpacks.
 *
 * Source: github.com/openvinotoolkit/openvino, src/bindings/c/include/openvino/c; the wheel brings the same headers.
 */

const OUT_POINTER = koffi.out(koffi.pointer("void *")) as unknown as TypeObject;
const SHAPE = koffi.struct({ rank: "int64_t", dims: "int64_t *" });
const PROPERTY = koffi.struct({ key: "const char *", value: "const char *" });
const PROPERTIES = koffi.pointer(PROPERTY);
const VERSION = koffi.struct({ buildNumber: "const char *", description: "const char *" });

/** Parameters of each function in use. All of them return a status, 0 for success. */
const FUNCTIONS = {
  ov_get_openvino_version: [koffi.out(koffi.pointer(VERSION)) as unknown as TypeObject],
  ov_core_create: [OUT_POINTER],
  ov_core_set_properties: ["void *", "const char *", "size_t", PROPERTIES],
  ov_core_get_property: ["void *", "const char *", "const char *", OUT_POINTER],
  ov_core_read_model_from_memory_buffer: ["void *", "const void *", "size_t", "void *", OUT_POINTER],
  ov_core_compile_model_props: ["void *", "void *", "const char *", "size_t", PROPERTIES, OUT_POINTER],
  ov_core_import_model: ["void *", "const void *", "size_t", "const char *", OUT_POINTER],
  ov_compiled_model_export_model: ["void *", "const char *"],
  ov_compiled_model_input_by_name: ["void *", "const char *", OUT_POINTER],
  ov_compiled_model_create_infer_request: ["void *", OUT_POINTER],
  ov_infer_request_set_tensor: ["void *", "const char *", "void *"],
  ov_infer_request_infer: ["void *"],
  ov_tensor_create: ["int", SHAPE, OUT_POINTER],
  ov_tensor_create_from_host_ptr: ["int", SHAPE, "void *", OUT_POINTER],
} as const satisfies Record<string, readonly (string | TypeObject)[]>;

/** Functions that free what the others made. */
const RELEASES = [
  "ov_core_free",
  "ov_model_free",
  "ov_compiled_model_free",
  "ov_output_const_port_free",
  "ov_infer_request_free",
  "ov_tensor_free",
] as const;

type FunctionName = keyof typeof FUNCTIONS;
type NativeFunction = KoffiFunc<(...args: unknown[]) => number>;

/** OpenVINO's numbers of the element types in use. */
const ELEMENT = { bool: 1, float32: 4, int32: 9 } as const;

/** The C interface. */
export interface OvLibrary {
  /** Such as "2026.4.1-22982-...". */
  readonly version: string;
  /** Calls a function; throws what OpenVINO says of a failure. */
  call(name: FunctionName, ...args: unknown[]): void;
  /** Calls a function whose last argument receives an address; returns that. */
  make(name: FunctionName, ...args: unknown[]): Pointer;
  /** As `call` and `make`, on another thread. */
  callAsync(name: FunctionName, ...args: unknown[]): Promise<void>;
  makeAsync(name: FunctionName, ...args: unknown[]): Promise<Pointer>;
  release(name: (typeof RELEASES)[number], object: Pointer): void;
  /** A property of the device `CPU`. */
  property(core: Pointer, key: string): string;
}

/** Settings by their names. */
export type OvProperties = Readonly<Record<string, string>>;

/** Settings as the interface takes them. */
export const propertyList = (properties: OvProperties): { readonly key: string; readonly value: string }[] =>
  Object.entries(properties).map(([key, value]) => ({ key, value }));

let library: OvLibrary | undefined;

/**
 * Opens the library at the first call.
 *
 * @throws {Error} If it is not installed, or cannot be loaded on this machine.
 */
export function ovLibrary(): OvLibrary {
  return (library ??= open());
}

/** Where the C library lies, if it is installed. */
export function ovLibraryPath(): string | undefined {
  const folder = join(installFolder("openvino"), "openvino", "libs");
  const [name] = listOrEmpty(folder).filter((file) =>
    /^(libopenvino_c(\.\d+)?\.(so|dylib)(\.\d+)?|openvino_c\.dll)$/.test(file),
  );
  return name === undefined ? undefined : join(folder, name);
}

function open(): OvLibrary {
  const path = ovLibraryPath();
  if (path === undefined) throw new Error("OpenVINO is not installed; madformer engines install openvino installs it");
  reserveStacks();
  const native = loadForGood(path);
  const functions = Object.fromEntries(
    Object.entries(FUNCTIONS).map(([name, parameters]) => [name, native.func(name, "int", [...parameters])]),
  ) as unknown as Record<FunctionName, NativeFunction>;
  const releases = Object.fromEntries(RELEASES.map((name) => [name, native.func(name, "void", ["void *"])]));
  const lastMessage = native.func("ov_get_last_err_msg", "const char *", []) as () => string | null;
  const nameOfStatus = native.func("ov_get_error_info", "const char *", ["int"]) as (status: number) => string;
  const free = native.func("ov_free", "void", ["void *"]);

  const check = (name: string, status: number): void => {
    if (status !== 0) throw new Error(`OpenVINO: ${name}: ${summaryOf(lastMessage() ?? "") || nameOfStatus(status)}`);
  };
  const call = (name: FunctionName, ...args: unknown[]): void => check(name, functions[name](...args));
  const made = (name: string, [address]: [Pointer | null]): Pointer => {
    if (address === null) throw new Error(`OpenVINO: ${name} gave nothing`);
    return address;
  };
  const make = (name: FunctionName, ...args: unknown[]): Pointer => {
    const out: [Pointer | null] = [null];
    call(name, ...args, out);
    return made(name, out);
  };
  const callAsync = (name: FunctionName, ...args: unknown[]): Promise<void> =>
    new Promise<void>((resolve, reject) => {
      functions[name].async(...args, (error: unknown, status: number) => {
        try {
          if (error) throw error as Error;
          check(name, status);
          resolve();
        } catch (failure) {
          reject(failure);
        }
      });
    }).finally(() => void args.length); // what the arguments point to is in use until the call ends
  const version = {} as { buildNumber: string };
  call("ov_get_openvino_version", version);
  return {
    version: version.buildNumber,
    call,
    make,
    callAsync,
    makeAsync: async (name, ...args) => {
      const out: [Pointer | null] = [null];
      await callAsync(name, ...args, out);
      return made(name, out);
    },
    release: (name, object) => void releases[name]!(object),
    property: (core, key) => {
      const text = make("ov_core_get_property", core, "CPU", key);
      try {
        return koffi.decode(text, "char", -1) as string;
      } finally {
        free(text);
      }
    },
  };
}

/** What memory is bound with. */
export const OV_TENSORS: TensorRuntime = {
  tensorOver({ dtype, shape, data }: Buffer) {
    const dims = BigInt64Array.from(shape, BigInt);
    const type = { rank: shape.length, dims };
    // Nothing has no address.
    if (data.byteLength === 0) return ovLibrary().make("ov_tensor_create", ELEMENT[dtype], type);
    return ovLibrary().make("ov_tensor_create_from_host_ptr", ELEMENT[dtype], type, data);
  },
  releaseTensor: (tensor) => ovLibrary().release("ov_tensor_free", tensor),
};

/** OpenVINO's messages name source files of its own, then what happened: the last line that says something. */
function summaryOf(message: string): string {
  const lines = message.split("\n").map((line) => line.trim());
  const telling = lines.filter((line) => line !== "" && !/^(Exception from|Check ')/.test(line));
  return (telling.at(-1) ?? lines.at(-1) ?? "").replace(/[.:]$/, "");
}

function listOrEmpty(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

import { readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import koffi, { type KoffiFunc, type TypeObject } from "koffi";
import type { Buffer, Pointer, TensorRuntime } from "../../bound/memory.js";
import { reserveStacks } from "../../native/stacks.js";
import { ELEMENT_TYPE } from "../../onnx/proto.js";

/**
 * ONNX Runtime's C interface, called directly in the library that the `onnxruntime-node` package brings.
 *
 * Why not through `onnxruntime-node` itself: its `run` copies every output into a new array, preallocated or not, and
 * converts every tensor at every call. *Measured* on a training step with 100 MB of state in 168 tensors: 45 ms of 490
 * per step. Here tensors are bound once and a run is one call.
 *
 * The C interface is a table of functions whose order never changes; a library of a later version has a longer table.
 * Source: github.com/microsoft/onnxruntime, include/onnxruntime/core/session/onnxruntime_c_api.h, `struct OrtApi`.
 */

export type { Pointer };

/** Version of the interface that is asked for: all functions below are in it. */
const API_VERSION = 20;

/** Paths are UTF-16 on Windows. */
const PATH_TYPE = process.platform === "win32" ? "const char16_t *" : "const char *";

/** Where each function stands in `struct OrtApi`, and its type. All of them return a status, null for success. */
const FUNCTIONS = {
  CreateEnv: [3, "int, const char *, _Out_ void **"],
  CreateSessionFromArray: [8, "void *, const void *, size_t, void *, _Out_ void **"],
  CreateSessionOptions: [10, "_Out_ void **"],
  EnableProfiling: [14, `void *, ${PATH_TYPE}`],
  DisableMemPattern: [17, "void *"],
  DisableCpuMemArena: [19, "void *"],
  SetSessionLogSeverityLevel: [22, "void *, int"],
  SetSessionGraphOptimizationLevel: [23, "void *, int"],
  SetIntraOpNumThreads: [24, "void *, int"],
  CreateRunOptions: [39, "_Out_ void **"],
  CreateTensorWithDataAsOrtValue: [49, "void *, void *, size_t, const int64_t *, size_t, int, _Out_ void **"],
  CreateCpuMemoryInfo: [69, "int, int, _Out_ void **"],
  AllocatorFree: [76, "void *, void *"],
  GetAllocatorWithDefaultOptions: [78, "_Out_ void **"],
  SessionEndProfiling: [110, "void *, void *, _Out_ void **"],
  AddSessionConfigEntry: [130, "void *, const char *, const char *"],
  RunWithBinding: [133, "void *, void *, void *"],
  CreateIoBinding: [134, "void *, _Out_ void **"],
  BindInput: [136, "void *, const char *, void *"],
  BindOutput: [137, "void *, const char *, void *"],
  AddExternalInitializers: [210, "void *, const char **, void **, size_t"],
} as const satisfies Record<string, readonly [number, string]>;

/** Functions that free what the others made; they return nothing. */
const RELEASES = {
  ReleaseStatus: 93,
  ReleaseSession: 95,
  ReleaseValue: 96,
  ReleaseSessionOptions: 100,
  ReleaseIoBinding: 135,
} as const;

/** Optimization levels of ONNX Runtime. */
export const OPTIMIZATION_LEVEL = { disabled: 0, basic: 1, extended: 2, layout: 3, all: 99 } as const;

type NativeFunction = KoffiFunc<(...args: unknown[]) => unknown>;

/** The C interface, with what every program shares. */
export interface OrtLibrary {
  /** Version of ONNX Runtime, such as "1.30.0". */
  readonly version: string;
  readonly env: Pointer;
  readonly cpuMemory: Pointer;
  readonly runOptions: Pointer;
  /** Calls a function; throws what its status says. */
  call(name: keyof typeof FUNCTIONS, ...args: unknown[]): void;
  /** Calls a function whose last argument receives an address; returns that. */
  make(name: keyof typeof FUNCTIONS, ...args: unknown[]): Pointer;
  /** Calls a function on another thread. */
  callAsync(name: keyof typeof FUNCTIONS, ...args: unknown[]): Promise<void>;
  release(name: keyof typeof RELEASES, object: Pointer): void;
  /** The C string at an address. */
  text(address: Pointer): string;
  /** koffi's handle, which keeps the library loaded. */
  readonly handle: unknown;
}

let library: OrtLibrary | undefined;

/**
 * Opens the library at the first call.
 *
 * @throws {Error} If `onnxruntime-node` has no library for this platform.
 */
export function ortLibrary(): OrtLibrary {
  return (library ??= open());
}

function open(): OrtLibrary {
  reserveStacks();
  // koffi unloads a library when its handle is collected, threads and sessions notwithstanding. The addon of
  // onnxruntime-node is linked to the same library and, like all addons, stays until the process ends.
  createRequire(import.meta.url)("onnxruntime-node");
  const native = koffi.load(ortLibraryPath());
  const base: unknown = native.func("void *OrtGetApiBase()")();
  const [getApi, getVersion] = koffi.decode(base, koffi.array("void *", 2)) as [Pointer, Pointer];
  const version = String((koffi.decode(getVersion, koffi.proto("const char *", [])) as () => string)());
  const table = (koffi.decode(getApi, koffi.proto("void *", ["uint32_t"])) as (version: number) => Pointer | null)(
    API_VERSION,
  );
  if (!table) throw new Error(`ONNX Runtime ${version} does not offer version ${API_VERSION} of its C interface`);
  const count = Math.max(...Object.values(FUNCTIONS).map(([index]) => index)) + 1;
  const addresses = koffi.decode(table, koffi.array("void *", count)) as Pointer[];
  const bind = (index: number, result: string, parameters: string): NativeFunction =>
    koffi.decode(addresses[index], koffi.proto(result, parameters.split(", ").map(parameter))) as NativeFunction;

  const functions = Object.fromEntries(
    Object.entries(FUNCTIONS).map(([name, [index, parameters]]) => [name, bind(index, "void *", parameters)]),
  ) as Record<keyof typeof FUNCTIONS, NativeFunction>;
  const releases = Object.fromEntries(
    Object.entries(RELEASES).map(([name, index]) => [name, bind(index, "void", "void *")]),
  ) as Record<keyof typeof RELEASES, NativeFunction>;
  const messageOf = bind(2, "const char *", "void *") as unknown as (status: Pointer) => string;

  const check = (status: unknown): void => {
    if (!status) return;
    const message = messageOf(status as Pointer);
    releases.ReleaseStatus(status);
    throw new Error(message.trim());
  };
  const call = (name: keyof typeof FUNCTIONS, ...args: unknown[]): void => check(functions[name](...args));
  const make = (name: keyof typeof FUNCTIONS, ...args: unknown[]): Pointer => {
    const out: [Pointer | null] = [null];
    call(name, ...args, out);
    if (out[0] === null) throw new Error(`ONNX Runtime: ${name} gave nothing`);
    return out[0];
  };
  const callAsync = (name: keyof typeof FUNCTIONS, ...args: unknown[]): Promise<void> =>
    new Promise<void>((resolve, reject) => {
      const done = (error: unknown, status: unknown): void => {
        try {
          if (error) throw error as Error;
          check(status);
          resolve();
        } catch (failure) {
          reject(failure);
        }
      };
      functions[name].async(...args, done);
    }).finally(() => void args.length); // what the arguments point to is in use until the call ends
  const release = (name: keyof typeof RELEASES, object: Pointer): void => void releases[name](object);

  const WARNING = 2;
  return {
    handle: native,
    version,
    env: make("CreateEnv", WARNING, "madformer"),
    cpuMemory: make("CreateCpuMemoryInfo", 1, 0), // OrtArenaAllocator, OrtMemTypeDefault
    runOptions: make("CreateRunOptions"),
    call,
    make,
    callAsync,
    release,
    text: (address) => koffi.decode(address, "char", -1) as string,
  };
}

function parameter(text: string): string | TypeObject {
  return text.startsWith("_Out_ ") ? (koffi.out(koffi.pointer("void *")) as unknown as TypeObject) : text;
}

/** ONNX Runtime's name for a buffer, which it neither copies nor owns. */
export function valueOf(ort: OrtLibrary, { dtype, shape, data }: Buffer): Pointer {
  const dims = BigInt64Array.from(shape, BigInt);
  return ort.make(
    "CreateTensorWithDataAsOrtValue",
    ort.cpuMemory,
    data,
    data.byteLength,
    dims,
    shape.length,
    ELEMENT_TYPE[dtype],
  );
}

/** What memory is bound with. */
export const ORT_TENSORS: TensorRuntime = {
  tensorOver: (buffer) => valueOf(ortLibrary(), buffer),
  releaseTensor: (tensor) => ortLibrary().release("ReleaseValue", tensor),
};

/** The shared library inside the installed `onnxruntime-node`. */
export function ortLibraryPath(): string {
  const require = createRequire(import.meta.url);
  const bin = join(dirname(require.resolve("onnxruntime-node")), "..", "bin");
  const binding = readdirSync(bin).find((name) => name.startsWith("napi-"));
  const folder = join(bin, binding ?? "", process.platform, process.arch);
  const names = listOrEmpty(folder).filter((name) =>
    /^(libonnxruntime(\.\d[\d.]*)?\.(so|dylib)(\.\d+)?|onnxruntime\.dll)$/.test(name),
  );
  const [name] = names.sort((a, b) => b.length - a.length);
  if (name === undefined)
    throw new Error(
      `onnxruntime-node has no library for ${process.platform} ${process.arch}: nothing fits in "${folder}"`,
    );
  return join(folder, name);
}

function listOrEmpty(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

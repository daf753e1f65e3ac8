/**
 * The part of PJRT's C interface that is used: where functions stand in `PJRT_Api`, and how their arguments are laid
 * out. Names, without the prefix `PJRT_`, offsets and sizes are the interface's own, on 64-bit machines.
 *
 * Every function takes one pointer to a structure that begins with its own size and a list of extensions, and returns
 * an error, null for none. Since 0.68 fields and functions were only added, at the end.
 *
 * Source: github.com/openxla/xla, xla/pjrt/c/pjrt_c_api.h, version 0.114.
 */

/** Version that the structures below are of, and the oldest that has them as they are here. */
export const KNOWN_VERSION = { major: 0, minor: 114, oldest: 68 } as const;

/** `PJRT_Api` itself, before its functions: its size in bytes, and the version. */
export const API = { size: 0, major: 32, minor: 36, functions: 40 } as const;

/** How a field is stored: a word is a pointer, a size or an int64. */
export type FieldKind = "word" | "int32" | "bool";

/** A field: where it begins, in bytes, if it is a word; else also what it is. */
type Field = number | readonly [offset: number, kind: FieldKind];

export interface Layout {
  /** Where it stands in `PJRT_Api`, of a function's arguments. */
  readonly slot?: number;
  /** What goes into its first field. */
  readonly size: number;
  readonly fields: Readonly<Record<string, Field>>;
}

/** Arguments of functions. Fields that are never set or read are left out; they are zero. */
export const CALLS = {
  Error_Destroy: { slot: 0, size: 24, fields: { error: 16 } },
  Error_Message: { slot: 1, size: 40, fields: { error: 16, message: 24, message_size: 32 } },
  Error_GetCode: { slot: 2, size: 28, fields: { error: 16, code: [24, "int32"] } },
  Plugin_Initialize: { slot: 3, size: 16, fields: {} },
  Plugin_Attributes: { slot: 4, size: 32, fields: { attributes: 16, num_attributes: 24 } },
  Event_Destroy: { slot: 5, size: 24, fields: { event: 16 } },
  Event_IsReady: { slot: 6, size: 25, fields: { event: 16, is_ready: [24, "bool"] } },
  Event_Await: { slot: 8, size: 24, fields: { event: 16 } },
  Client_Create: { slot: 10, size: 88, fields: { create_options: 16, num_options: 24, client: 64 } },
  Client_PlatformName: { slot: 12, size: 40, fields: { client: 16, platform_name: 24, platform_name_size: 32 } },
  Client_PlatformVersion: {
    slot: 14,
    size: 40,
    fields: { client: 16, platform_version: 24, platform_version_size: 32 },
  },
  Client_AddressableDevices: {
    slot: 16,
    size: 40,
    fields: { client: 16, addressable_devices: 24, num_addressable_devices: 32 },
  },
  Client_Compile: {
    slot: 20,
    size: 56,
    fields: { client: 16, program: 24, compile_options: 32, compile_options_size: 40, executable: 48 },
  },
  Client_BufferFromHostBuffer: {
    slot: 22,
    size: 120,
    fields: {
      client: 16,
      data: 24,
      type: [32, "int32"],
      dims: 40,
      num_dims: 48,
      host_buffer_semantics: [72, "int32"],
      device: 80,
      done_with_host_buffer: 104,
      buffer: 112,
    },
  },
  DeviceDescription_Kind: { slot: 26, size: 40, fields: { device_description: 16, kind: 24, kind_size: 32 } },
  Device_GetDescription: { slot: 29, size: 32, fields: { device: 16, device_description: 24 } },
  Device_MemoryStats: {
    slot: 34,
    size: 201,
    fields: {
      device: 16,
      bytes_in_use: 24,
      peak_bytes_in_use: 32,
      peak_bytes_in_use_is_set: [40, "bool"],
      bytes_limit: 80,
      bytes_limit_is_set: [88, "bool"],
    },
  },
  Executable_Destroy: { slot: 40, size: 24, fields: { executable: 16 } },
  Executable_NumOutputs: { slot: 44, size: 32, fields: { executable: 16, num_outputs: 24 } },
  Executable_OptimizedProgram: { slot: 48, size: 32, fields: { executable: 16, program: 24 } },
  Executable_Serialize: {
    slot: 49,
    size: 56,
    fields: { executable: 16, bytes: 24, bytes_size: 32, serialized: 40, deleter: 48 },
  },
  LoadedExecutable_Destroy: { slot: 50, size: 24, fields: { executable: 16 } },
  LoadedExecutable_GetExecutable: { slot: 51, size: 32, fields: { loaded_executable: 16, executable: 24 } },
  LoadedExecutable_Execute: {
    slot: 55,
    size: 80,
    fields: {
      executable: 16,
      options: 24,
      argument_lists: 32,
      num_devices: 40,
      num_args: 48,
      output_lists: 56,
      device_complete_events: 64,
    },
  },
  Executable_DeserializeAndLoad: {
    slot: 56,
    size: 72,
    fields: { client: 16, bytes: 24, bytes_size: 32, loaded_executable: 40 },
  },
  Buffer_Destroy: { slot: 58, size: 24, fields: { buffer: 16 } },
  Buffer_IsDeleted: { slot: 68, size: 25, fields: { buffer: 16, is_deleted: [24, "bool"] } },
  Buffer_ToHostBuffer: { slot: 70, size: 56, fields: { src: 16, dst: 32, dst_size: 40, event: 48 } },
  Executable_GetCompiledMemoryStats: {
    slot: 96,
    size: 144,
    fields: { executable: 16, code: 24, arguments: 32, outputs: 40, alias: 48, temporary: 56 },
  },
} as const satisfies Record<string, Layout>;

/** Structures that calls point to. */
export const RECORDS = {
  Program: { size: 48, fields: { code: 16, code_size: 24, format: 32, format_size: 40 } },
  ExecuteOptions: {
    size: 144,
    fields: { non_donatable_input_indices: 56, num_non_donatable_input_indices: 64 },
  },
} as const satisfies Record<string, Layout>;

export type CallName = keyof typeof CALLS;

/** A named value: an element of a list, so that its size is fixed. */
export const NAMED_VALUE = { size: 56, name: 16, nameSize: 24, type: 32, value: 40, valueSize: 48 } as const;

/** What a named value can be. */
export const VALUE_TYPE = { string: 0, int64: 1, int64List: 2, float: 3, bool: 4 } as const;

/** What an error is about, by its number. */
export const ERROR_CODES = [
  "OK",
  "CANCELLED",
  "UNKNOWN",
  "INVALID_ARGUMENT",
  "DEADLINE_EXCEEDED",
  "NOT_FOUND",
  "ALREADY_EXISTS",
  "PERMISSION_DENIED",
  "RESOURCE_EXHAUSTED",
  "FAILED_PRECONDITION",
  "ABORTED",
  "OUT_OF_RANGE",
  "UNIMPLEMENTED",
  "INTERNAL",
  "UNAVAILABLE",
  "DATA_LOSS",
  "UNAUTHENTICATED",
] as const;

/** Element types in use. */
export const ELEMENT = { bool: 1, int32: 4, float32: 11 } as const;

/** A host's array is read during the call alone. */
export const IMMUTABLE_DURING_CALL = 0;

import koffi from "koffi";
import type { DType, Shape } from "../../ir/graph.js";
import type { Client } from "./client.js";
import { DeviceBuffer } from "./device-buffer.js";
import { addressOf, bytesAt, pointerList, type Pointer } from "./pjrt-struct.js";
import type { Call, PluginRecord } from "./plugin.js";

/** What a compiled program takes of the device's memory, in bytes. */
export interface CompiledMemory {
  readonly arguments: number;
  readonly outputs: number;
  /** Outputs that are written over arguments. */
  readonly alias: number;
  readonly temporary: number;
  readonly code: number;
}

/** What a result is. */
export interface ResultType {
  readonly dtype: DType;
  readonly shape: Shape;
}

/** A compiled program on the client's first device. */
export class Executable {
  readonly client: Client;
  private readonly loaded: Pointer;
  private readonly plain: Pointer;
  private readonly results: readonly ResultType[];
  /** Where the addresses of arguments and results lie, and the call itself: the same for all runs. */
  private readonly given: BigUint64Array;
  private readonly made: BigUint64Array;
  private readonly ended: BigUint64Array;
  private readonly options: PluginRecord<"ExecuteOptions">;
  private readonly execution: Call<"LoadedExecutable_Execute">;
  /** What the call points to. */
  private readonly kept: readonly unknown[];

  private constructor(client: Client, loaded: Pointer, argumentCount: number, results: readonly ResultType[]) {
    const { plugin } = client;
    this.client = client;
    this.loaded = loaded;
    this.results = results;
    this.plain = plugin.call("LoadedExecutable_GetExecutable", { loaded_executable: loaded }).pointer("executable");
    const count = plugin.call("Executable_NumOutputs", { executable: this.plain }).number("num_outputs");
    if (count !== results.length) {
      this[Symbol.dispose]();
      throw new Error(`XLA compiled a program with ${count} results, expected ${results.length}`);
    }
    this.given = pointerList(new Array<Pointer>(argumentCount).fill(0n));
    this.made = pointerList(results.map(() => 0n));
    this.ended = pointerList([0n]);
    this.options = plugin.record("ExecuteOptions");
    const [arguments_, outputs] = [this.given, this.made].map((list) => pointerList([addressOf(list)]));
    this.execution = plugin.prepare("LoadedExecutable_Execute", {
      executable: loaded,
      options: this.options.address,
      argument_lists: arguments_ as BigUint64Array,
      num_devices: 1,
      num_args: argumentCount,
      output_lists: outputs as BigUint64Array,
      device_complete_events: this.ended,
    });
    this.kept = [arguments_, outputs];
  }

  /**
   * Compiles StableHLO text, on another thread; inside of `exclusive`.
   *
   * @param options Bytes of a `CompileOptionsProto`.
   * @throws {PjrtError} What XLA says of the program.
   */
  static async compile(
    client: Client,
    text: Uint8Array,
    options: Uint8Array,
    argumentCount: number,
    results: readonly ResultType[],
  ): Promise<Executable> {
    const { plugin } = client;
    const format = Buffer.from("mlir");
    const program = plugin.record("Program", {
      code: text,
      code_size: text.byteLength,
      format,
      format_size: format.length,
    });
    const made = await plugin.callAsync("Client_Compile", {
      client: client.pointer,
      program: program.address,
      compile_options: options,
      compile_options_size: options.byteLength,
    });
    keepAlive(program, format);
    return new Executable(client, made.pointer("executable"), argumentCount, results);
  }

  /**
   * Loads what `serialize` gave; inside of `exclusive`.
   *
   * @throws {PjrtError} If the plugin does not take it.
   */
  static async load(
    client: Client,
    bytes: Uint8Array,
    argumentCount: number,
    results: readonly ResultType[],
  ): Promise<Executable> {
    const made = await client.plugin.callAsync("Executable_DeserializeAndLoad", {
      client: client.pointer,
      bytes,
      bytes_size: bytes.byteLength,
    });
    return new Executable(client, made.pointer("loaded_executable"), argumentCount, results);
  }

  /** The compiled program as bytes; inside of `exclusive`. */
  serialize(): Uint8Array {
    const made = this.client.plugin.call("Executable_Serialize", { executable: this.plain });
    try {
      return bytesAt(made.pointer("bytes"), made.number("bytes_size"));
    } finally {
      const free = koffi.decode(made.pointer("deleter"), koffi.proto("void", ["void *"])) as (it: Pointer) => void;
      free(made.pointer("serialized"));
    }
  }

  /** What it takes of the device's memory; undefined where the plugin does not say. */
  memory(): CompiledMemory | undefined {
    if (!this.client.plugin.has("Executable_GetCompiledMemoryStats")) return undefined;
    const found = this.client.plugin.call("Executable_GetCompiledMemoryStats", { executable: this.plain });
    return {
      arguments: found.number("arguments"),
      outputs: found.number("outputs"),
      alias: found.number("alias"),
      temporary: found.number("temporary"),
      code: found.number("code"),
    };
  }

  /** The program as XLA has optimized it: an `HloModuleProto`, in which names of custom calls can be looked for. */
  optimizedProgram(): Uint8Array {
    const { plugin } = this.client;
    const format = Buffer.from("hlo");
    const program = plugin.record("Program", { format, format_size: format.length });
    const ask = () => plugin.call("Executable_OptimizedProgram", { executable: this.plain, program: program.address });
    ask();
    const code = new Uint8Array(new ArrayBuffer(program.number("code_size")));
    program.set("code", code);
    ask();
    return code;
  }

  /**
   * Starts a run, on another thread; inside of `exclusive`.
   *
   * @param kept Places of arguments that must not be consumed, though results could be written over them.
   * @returns The results, which may still be computed, and the event that the run has ended.
   * @throws {PjrtError} If it could not be started.
   */
  async run(
    given: readonly DeviceBuffer[],
    kept: readonly number[],
  ): Promise<{ readonly results: DeviceBuffer[]; readonly ended: Pointer }> {
    given.forEach(({ pointer }, i) => (this.given[i] = pointer));
    this.made.fill(0n);
    this.ended.fill(0n);
    this.options.set("non_donatable_input_indices", BigInt64Array.from(kept.length > 0 ? kept : [0], BigInt));
    this.options.set("num_non_donatable_input_indices", kept.length);
    await this.client.plugin.invokeAsync("LoadedExecutable_Execute", this.execution);
    keepAlive(this.kept);
    const results = this.results.map(
      ({ dtype, shape }, i) => new DeviceBuffer(this.client, this.made[i] as Pointer, dtype, shape),
    );
    return { results, ended: this.ended[0] as Pointer };
  }

  /** Frees it; inside of `exclusive`. */
  [Symbol.dispose](): void {
    const { plugin } = this.client;
    plugin.call("Executable_Destroy", { executable: this.plain });
    plugin.call("LoadedExecutable_Destroy", { executable: this.loaded });
  }
}

/** What a call reads by its address alone is reachable until here. */
function keepAlive(...objects: unknown[]): number {
  return objects.length;
}

import { totalmem } from "node:os";
import type { DType, Shape, TensorData } from "../../ir/graph.js";
import { allocate, sizeOf } from "../../ir/graph.js";
import { DeviceBuffer } from "./device-buffer.js";
import { encodeNamedValues, type NamedValues } from "./named-values.js";
import { bytesAt, fixedBytes, textAt, type Pointer } from "./pjrt-struct.js";
import { ELEMENT, IMMUTABLE_DURING_CALL } from "./pjrt-table.js";
import { PjrtError, type Call, type Plugin } from "./plugin.js";

/** What is known of a device's memory, in bytes. */
export interface DeviceMemory {
  readonly used: number;
  readonly limit: number;
  /** The most that was in use; undefined where nobody counts it. */
  readonly peak?: number;
}

/**
 * Events that are waited for at once. Each blocks one of the four threads that runs are started from, too, and koffi
 * makes 256 calls at most; a program may have more results than that. Those of one run come at about the same time.
 */
const MAX_WAITS = 2;

/**
 * A plugin's client, with the first of its devices. Calls are made one after another: `exclusive` has the plugin for
 * itself, and everything but waiting for an event happens inside of it.
 */
export class Client {
  readonly plugin: Plugin;
  /** Such as `cpu` or `cuda`. */
  readonly platform: string;
  /** What the plugin says of its own build. */
  readonly platformVersion: string;
  /** The device's name: the card's, or `cpu`. */
  readonly deviceKind: string;
  readonly deviceCount: number;
  readonly pointer: Pointer;
  private readonly device: Pointer;
  private last: Promise<unknown> = Promise.resolve();
  private busy = 0;
  private waits = 0;
  private readonly waiting: (() => void)[] = [];
  private readonly unused: Pointer[] = [];
  private readonly destroying: Call<"Buffer_Destroy">;
  private readonly destroyed: BigUint64Array;

  constructor(plugin: Plugin, options: NamedValues = {}) {
    this.plugin = plugin;
    const list = encodeNamedValues(options);
    const made = plugin.call("Client_Create", { create_options: list.bytes, num_options: list.count });
    this.pointer = made.pointer("client");
    const { pointer: client } = this;
    const name = plugin.call("Client_PlatformName", { client });
    this.platform = textAt(name.pointer("platform_name"), name.number("platform_name_size"));
    const version = plugin.call("Client_PlatformVersion", { client });
    this.platformVersion = textAt(version.pointer("platform_version"), version.number("platform_version_size"));
    const devices = plugin.call("Client_AddressableDevices", { client });
    this.deviceCount = devices.number("num_addressable_devices");
    if (this.deviceCount === 0)
      throw new Error(`Cannot use ${JSON.stringify(plugin.path)}: it finds no device of platform "${this.platform}"`);
    [this.device] = new BigUint64Array(bytesAt(devices.pointer("addressable_devices"), 8).buffer) as unknown as [
      bigint,
    ];
    const description = plugin.call("Device_GetDescription", { device: this.device }).pointer("device_description");
    const kind = plugin.call("DeviceDescription_Kind", { device_description: description });
    this.deviceKind = textAt(kind.pointer("kind"), kind.number("kind_size"));
    this.destroying = plugin.prepare("Buffer_Destroy");
    this.destroyed = this.destroying.word("buffer");
  }

  /** Does something while nobody else calls the plugin; in the order of the calls. */
  exclusive<T>(task: () => T | Promise<T>): Promise<T> {
    this.busy++;
    const result = this.last.then(async () => {
      try {
        this.destroyUnused();
        return await task();
      } finally {
        this.destroyUnused();
        this.busy--;
      }
    });
    this.last = result.catch(() => undefined);
    return result;
  }

  /**
   * Waits for an event and destroys it. The one call that is made beside others: it blocks a thread until the event is
   * there.
   *
   * @throws {PjrtError} What failed that the event stands for.
   */
  async wait(event: Pointer): Promise<void> {
    if (event === 0n) return;
    const { plugin } = this;
    try {
      if (!this.isReady(event)) await this.inTurn(event);
      else plugin.call("Event_Await", { event });
    } finally {
      plugin.call("Event_Destroy", { event });
    }
  }

  private isReady(event: Pointer): boolean {
    return this.plugin.call("Event_IsReady", { event }).number("is_ready") === 1;
  }

  /** Waits for an event when fewer than `MAX_WAITS` others are waited for. */
  private async inTurn(event: Pointer): Promise<void> {
    if (this.waits < MAX_WAITS) this.waits++;
    else await new Promise<void>((resolve) => this.waiting.push(resolve));
    try {
      if (this.isReady(event)) this.plugin.call("Event_Await", { event });
      else await this.plugin.callAsync("Event_Await", { event });
    } finally {
      const next = this.waiting.shift();
      if (next) next();
      else this.waits--;
    }
  }

  /** Sends elements to the device; inside of `exclusive`. The array is read during the call alone. */
  upload(dtype: DType, shape: Shape, data: TensorData): DeviceBuffer {
    const { plugin } = this;
    const made = plugin.call("Client_BufferFromHostBuffer", {
      client: this.pointer,
      data: data.byteLength === 0 ? fixedBytes(1) : data,
      type: ELEMENT[dtype],
      dims: BigInt64Array.from(shape.length === 0 ? [0] : shape, BigInt),
      num_dims: shape.length,
      host_buffer_semantics: IMMUTABLE_DURING_CALL,
      device: this.device,
    });
    const done = made.pointer("done_with_host_buffer");
    if (done !== 0n) plugin.call("Event_Destroy", { event: done });
    return new DeviceBuffer(this, made.pointer("buffer"), dtype, shape);
  }

  /** A copy of a buffer's elements, as they will be when what computes them has run. */
  async download(buffer: DeviceBuffer): Promise<TensorData> {
    const data = allocate(buffer.dtype, sizeOf(buffer.shape));
    buffer.retain();
    try {
      if (data.byteLength === 0) return data;
      const event = await this.exclusive(() =>
        this.plugin
          .call("Buffer_ToHostBuffer", { src: buffer.pointer, dst: data, dst_size: data.byteLength })
          .pointer("event"),
      );
      await this.wait(event);
      return data;
    } finally {
      buffer.release();
    }
  }

  /** Whether a run has consumed a buffer; inside of `exclusive`. */
  isDeleted(buffer: DeviceBuffer): boolean {
    return this.plugin.call("Buffer_IsDeleted", { buffer: buffer.pointer }).number("is_deleted") === 1;
  }

  /** Gives a buffer back: at once, or as soon as nobody calls the plugin. */
  destroy(buffer: Pointer): void {
    this.unused.push(buffer);
    if (this.busy === 0) this.destroyUnused();
  }

  /** The device's memory, as its allocator counts it; that of the machine where it counts none. */
  memory(): DeviceMemory {
    try {
      const found = this.plugin.call("Device_MemoryStats", { device: this.device });
      if (found.number("bytes_limit_is_set") === 1)
        return {
          used: found.number("bytes_in_use"),
          limit: found.number("bytes_limit"),
          ...(found.number("peak_bytes_in_use_is_set") === 1 ? { peak: found.number("peak_bytes_in_use") } : {}),
        };
    } catch (error) {
      if (!(error instanceof PjrtError && error.code === "UNIMPLEMENTED")) throw error;
    }
    if (this.platform !== "cpu") return { used: 0, limit: Infinity };
    const allowed = process.constrainedMemory();
    const limit = allowed > 0 && allowed < totalmem() ? allowed : totalmem();
    return { used: process.memoryUsage.rss(), limit };
  }

  private destroyUnused(): void {
    for (let pointer = this.unused.pop(); pointer !== undefined; pointer = this.unused.pop()) {
      this.destroyed[0] = pointer;
      this.plugin.invoke("Buffer_Destroy", this.destroying);
    }
  }
}

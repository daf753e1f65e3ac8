import type { Memory } from "../../backend.js";
import { countHostCopy } from "../../host-copies.js";
import type { DType, Shape, TensorData } from "../../ir/graph.js";
import type { Client } from "./client.js";
import type { Pointer } from "./pjrt-struct.js";

/** A tensor on the device, with the number of those that use it: the state of programs, handles, reads under way. */
export class DeviceBuffer implements Memory {
  private uses = 1;

  constructor(
    private readonly client: Client,
    readonly pointer: Pointer,
    readonly dtype: DType,
    readonly shape: Shape,
  ) {}

  async read(): Promise<TensorData> {
    const data = await this.client.download(this);
    countHostCopy(data.byteLength);
    return data;
  }

  retain(): this {
    this.uses++;
    return this;
  }

  release(): void {
    if (--this.uses === 0) this.client.destroy(this.pointer);
  }
}

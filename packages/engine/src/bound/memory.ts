import type { Memory } from "../backend.js";
import { countHostCopy } from "../host-copies.js";
import type { DType, Shape, TensorData } from "../ir/graph.js";
import { sizeOf } from "../ir/graph.js";
import { alignedArray } from "./buffers.js";

/** A tensor's elements where they lie, and what they are. */
export interface Buffer {
  readonly dtype: DType;
  readonly shape: Shape;
  readonly data: TensorData;
}

/** An address in a library's memory. */
export type Pointer = bigint;

/** A runtime's own names for buffers, which it neither copies nor owns. */
export interface TensorRuntime {
  tensorOver(buffer: Buffer): Pointer;
  releaseTensor(tensor: Pointer): void;
}

/** A buffer with its runtime's name for it, which can be bound as the input or the output of any session. */
export class BoundMemory implements Memory {
  readonly buffer: Buffer;
  readonly value: Pointer;
  private readonly runtime: TensorRuntime;
  private readonly whenReleased: (memory: BoundMemory) => void;
  private isFreed = false;

  /** @param whenReleased Where it goes when nothing refers to it; it is freed if nothing is said. */
  constructor(
    runtime: TensorRuntime,
    buffer: Buffer,
    whenReleased: (memory: BoundMemory) => void = (memory) => memory.free(),
  ) {
    this.runtime = runtime;
    this.buffer = buffer;
    this.value = runtime.tensorOver(buffer);
    this.whenReleased = whenReleased;
  }

  /** Fresh memory, zero. */
  static make(
    runtime: TensorRuntime,
    { dtype, shape }: Omit<Buffer, "data">,
    whenReleased?: (memory: BoundMemory) => void,
  ): BoundMemory {
    return new BoundMemory(runtime, { dtype, shape, data: alignedArray(dtype, sizeOf(shape)) }, whenReleased);
  }

  async read(): Promise<TensorData> {
    const { data } = this.buffer;
    countHostCopy(data.byteLength);
    return data.slice();
  }

  /** Replaces its elements. */
  write(data: TensorData): void {
    countHostCopy(data.byteLength);
    this.buffer.data.set(data);
  }

  release(): void {
    this.whenReleased(this);
  }

  /** Whether it can be bound no more. */
  get freed(): boolean {
    return this.isFreed;
  }

  free(): void {
    this.isFreed = true;
    this.runtime.releaseTensor(this.value);
  }
}

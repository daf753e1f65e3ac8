import type { Memory } from "../../backend.js";
import { countHostCopy } from "../../host-copies.js";
import type { DType, Shape, TensorData } from "../../ir/graph.js";
import { sizeOf } from "../../ir/graph.js";
import { alignedArray } from "./buffers.js";
import { ortLibrary, type OrtLibrary, type Pointer } from "./ort-library.js";
import { ELEMENT_TYPE } from "./proto.js";

/** A tensor's elements where they lie, and what they are. */
export interface Buffer {
  readonly dtype: DType;
  readonly shape: Shape;
  readonly data: TensorData;
}

/** A buffer with ONNX Runtime's name for it, which can be bound as the input or the output of any session. */
export class BoundMemory implements Memory {
  readonly buffer: Buffer;
  readonly value: Pointer;
  private readonly whenReleased: (memory: BoundMemory) => void;
  private isFreed = false;

  /** @param whenReleased Where it goes when nothing refers to it; it is freed if nothing is said. */
  constructor(buffer: Buffer, whenReleased: (memory: BoundMemory) => void = (memory) => memory.free()) {
    this.buffer = buffer;
    this.value = valueOf(ortLibrary(), buffer);
    this.whenReleased = whenReleased;
  }

  /** Fresh memory, zero. */
  static make({ dtype, shape }: Omit<Buffer, "data">, whenReleased?: (memory: BoundMemory) => void): BoundMemory {
    return new BoundMemory({ dtype, shape, data: alignedArray(dtype, sizeOf(shape)) }, whenReleased);
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
    ortLibrary().release("ReleaseValue", this.value);
  }
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

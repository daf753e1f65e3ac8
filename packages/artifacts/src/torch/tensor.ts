import { quote } from "../format-error.js";
import { toFloat32 } from "../tensor/convert.js";
import { elementCount, elementsOf, formatShape, isDType, type TensorValue } from "../tensor/dtype.js";
import { gather, rowMajorStrides } from "../tensor/strided.js";
import { torchBytes, type ElementType } from "./element-type.js";
import type { TorchStorage } from "./storage.js";

/** PyTorch's own limit. */
export const MAX_DIMS = 64;

/** A view may repeat its storage (`expand`), so that a small file could ask for any amount. Past this it is refused. */
const MAX_REPEATED_BYTES = 2 ** 30;

/**
 * A tensor of a PyTorch file: a strided view of a storage. It is read when it is asked for, as long as the file is
 * open.
 */
export class TorchTensor {
  readonly kind = "tensor";

  /** Elements of the shape. */
  readonly elements: number;

  /**
   * @param storage Its memory.
   * @param offset Of its first element, in elements.
   * @param strides Elements from one to the next along each axis.
   * @throws {FormatError} If it is not all inside its storage.
   */
  constructor(
    readonly storage: TorchStorage,
    readonly dtype: ElementType,
    readonly offset: number,
    readonly shape: readonly number[],
    readonly strides: readonly number[],
    readonly requiresGrad: boolean,
    /** Whether it was a `torch.nn.Parameter`. */
    readonly isParameter = false,
  ) {
    this.elements = elementCount(shape);
    const described = `a tensor of shape ${formatShape(shape)} and strides ${formatShape(strides)} at element ${offset}`;
    if (
      Number.isNaN(this.elements) ||
      Number.isNaN(elementCount([offset])) ||
      strides.some((s) => Number.isNaN(elementCount([s])))
    )
      throw storage.error(`it has ${described}`);
    if (shape.length !== strides.length || shape.length > MAX_DIMS)
      throw storage.error(`it has ${described}, expected as many strides as axes, and at most ${MAX_DIMS}`);
    if (storage.start % torchBytes(dtype))
      throw storage.error(
        `it has ${described}, but storage ${quote(storage.key)} starts at byte ${storage.start}, no multiple of ${dtype}`,
      );
    const held = Math.floor(storage.sizeBytes / torchBytes(dtype));
    if (this.elements > 0 && !(offset + this.span <= held))
      throw storage.error(`it has ${described}, but storage ${quote(storage.key)} holds ${held} elements of ${dtype}`);
  }

  /** Bytes of an element. */
  get elementBytes(): number {
    return torchBytes(this.dtype);
  }

  /** Elements of the storage from its first one to its last. */
  private get span(): number {
    return this.shape.reduce((sum, size, axis) => sum + (size - 1) * (this.strides[axis] ?? 0), 1);
  }

  /**
   * Reads it, row-major whatever its strides are. Each call reads it again; the array is yours.
   *
   * @throws {FormatError} If its elements are of a type that is not read here.
   */
  async read(): Promise<TensorValue> {
    const { dtype, shape, strides, elements } = this;
    if (!isDType(dtype))
      throw this.storage.error(`a tensor of shape ${formatShape(shape)} is of ${dtype}, which cannot be read here`);
    const size = torchBytes(dtype);
    if (elements === 0) return { dtype, shape, data: elementsOf(dtype, new Uint8Array(0)) };
    const bytes = await this.storage.read(this.offset * size, this.span * size, dtype);
    if (this.isContiguous()) return { dtype, shape, data: elementsOf(dtype, bytes) };
    if (elements * size > Math.max(bytes.length, MAX_REPEATED_BYTES))
      throw this.storage.error(
        `a tensor of shape ${formatShape(shape)} repeats ${bytes.length} bytes of its storage to ${elements * size}, more than ${MAX_REPEATED_BYTES}`,
      );
    const target = new Uint8Array(elements * size);
    gather(bytes, shape, strides, size, target);
    return { dtype, shape, data: elementsOf(dtype, target) };
  }

  /** Reads it as float32, whatever it is. float16 and bfloat16 are exact; wider types are rounded. */
  async readFloat32(): Promise<Float32Array> {
    return toFloat32(await this.read());
  }

  /** Whether its elements lie row-major without gaps. An axis of one element has any stride. */
  isContiguous(): boolean {
    const expected = rowMajorStrides(this.shape);
    return this.shape.every((size, axis) => size === 1 || this.strides[axis] === expected[axis]);
  }
}

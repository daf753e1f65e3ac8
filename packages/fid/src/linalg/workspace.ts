import { kernelsOver, type Kernels } from "./kernels.js";
import { wasm } from "@madformer/engine";

/** A row-major matrix in the kernels' memory. */
export interface Matrix {
  /** Its elements. */
  readonly data: Float64Array;
  /** Where it starts, in bytes. */
  readonly at: number;
  readonly rows: number;
  /** Elements from row to row: a multiple of four. */
  readonly columns: number;
}

/** The next multiple of four: kernels work on four rows and columns at a time. */
export const padded = (size: number): number => Math.ceil(size / 4) * 4;

/** Memory that the kernels see, of a size fixed at the start, and the kernels. Collected like any object. */
export class Workspace {
  readonly kernels: Kernels;
  private readonly memory: wasm.WebAssemblyMemory;
  private end = 0;

  /** @param elements Doubles that all matrices together may hold. */
  constructor(elements: number) {
    this.memory = new wasm.WebAssembly.Memory({ initial: Math.ceil((elements * 8) / wasm.PAGE_BYTES) });
    this.kernels = kernelsOver(this.memory);
  }

  /** A matrix of zeros. Both sides are rounded up to multiples of four; what that adds stays zero. */
  matrix(rows: number, columns: number): Matrix {
    const [height, width] = [padded(rows), padded(columns)];
    const at = this.end;
    this.end += height * width * 8;
    return { data: new Float64Array(this.memory.buffer, at, height * width), at, rows: height, columns: width };
  }
}

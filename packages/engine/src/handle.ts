import type { Memory } from "./backend.js";
import { HandleError } from "./errors.js";
import type { DType, Shape, TensorData } from "./ir/graph.js";
import { formatType } from "./ir/infer.js";
import type { TensorField } from "./signature.js";

/**
 * A tensor where its engine has it: a result that was not copied to the host, or the state of a program. It goes into
 * programs of the same engine in place of an array. Whoever got it disposes it; that of a program's state ends by
 * itself when the program runs again.
 */
export interface Handle extends Disposable {
  /** Where it comes from, for messages: `gradients: sum/w`. */
  readonly name: string;
  readonly engine: string;
  readonly dtype: DType;
  readonly shape: Shape;
  /**
   * A copy of its elements.
   *
   * @throws {HandleError} If it was disposed or has ended.
   */
  read(): Promise<TensorData>;
  /** Lets go of its memory, which is freed when no program uses it any more. Doing so again does nothing. */
  dispose(): void;
}

/** Memory with the number of those that use it: a handle, runs, programs that have it as their state. */
export class SharedMemory {
  readonly name: string;
  private readonly memory: Memory;
  /** Whether it is the state of a program that may change: then nobody keeps it longer than for a run. */
  private readonly isView: boolean;
  private uses = 0;
  /** Why it cannot be used any more. */
  private ended: string | undefined;
  private waiting: (() => void)[] = [];

  constructor(name: string, memory: Memory, isView: boolean) {
    this.name = name;
    this.memory = memory;
    this.isView = isView;
  }

  /**
   * The memory, which stays as it is until `letGo`.
   *
   * @throws {HandleError} If it has ended.
   */
  retain(): Memory {
    if (this.ended !== undefined) throw new HandleError(this.name, `Cannot use handle "${this.name}": ${this.ended}`);
    this.uses++;
    return this.memory;
  }

  letGo(): void {
    this.uses--;
    if (this.uses > 0) return;
    for (const resolve of this.waiting.splice(0)) resolve();
    if (!this.isView) this.memory.release();
  }

  /** As `retain`, for as long as there is a handle, or a program has it as its state: a view may end meanwhile. */
  adopt(): void {
    this.retain();
    if (this.isView) this.uses--;
  }

  /** The end of `adopt`. */
  abandon(): void {
    if (!this.isView) this.letGo();
  }

  /** Ends it, for what it shows is about to change. What reads it already goes on: `idle` waits for that. */
  end(why: string): void {
    this.ended ??= why;
  }

  /** Waits for the runs that read it. */
  async idle(): Promise<void> {
    while (this.uses > 0) await new Promise<void>((resolve) => this.waiting.push(resolve));
  }
}

/** A handle, with what programs need of it. */
export class MemoryHandle implements Handle {
  readonly name: string;
  readonly engine: string;
  readonly dtype: DType;
  readonly shape: Shape;
  private readonly shared: SharedMemory;
  private disposed = false;

  constructor(engine: string, { dtype, shape }: TensorField, shared: SharedMemory) {
    this.name = shared.name;
    this.engine = engine;
    this.dtype = dtype;
    this.shape = shape;
    this.shared = shared;
    shared.adopt();
  }

  async read(): Promise<TensorData> {
    const shared = this.use("Cannot read");
    const memory = shared.retain();
    try {
      return await memory.read();
    } finally {
      shared.letGo();
    }
  }

  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    this.shared.abandon();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /**
   * What programs use of it, where it fits.
   *
   * @param where What it is given for, for errors: `Program "f": "x"`.
   * @throws {HandleError} If it was disposed.
   * @throws {TypeError} If it is of another engine, dtype or shape.
   */
  fitting(where: string, field: TensorField, engine: string): SharedMemory {
    if (this.engine !== engine)
      throw new TypeError(
        `${where} is handle "${this.name}" of engine "${this.engine}", expected an array or a handle of engine "${engine}"`,
      );
    if (formatType(this) !== formatType(field))
      throw new TypeError(`${where} is handle "${this.name}", ${formatType(this)}, expected ${formatType(field)}`);
    return this.use(`${where} cannot be`);
  }

  private use(what: string): SharedMemory {
    if (this.disposed) throw new HandleError(this.name, `${what} handle "${this.name}": it was disposed`);
    return this.shared;
  }
}

/** Whether a value is a handle of this package's. */
export function isHandle(value: unknown): value is MemoryHandle {
  return value instanceof MemoryHandle;
}

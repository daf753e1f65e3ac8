import type { Executor } from "./backend.js";
import { isHandle, MemoryHandle, SharedMemory, type Handle } from "./handle.js";
import type { TensorData } from "./ir/graph.js";
import {
  elementsOf,
  flatten,
  isValue,
  unflatten,
  type Handles,
  type InputValues,
  type Part,
  type TensorField,
  type TensorValue,
  type Tree,
  type Values,
} from "./signature.js";

/**
 * The state of a program, by the path of each tensor: `params/blocks.0.weight`. It changes while the program runs:
 * nothing here can be called then.
 *
 * A handle becomes the state as it is, without a copy where the backend allows it; it may be disposed afterwards. One
 * of another program's state ends when that program runs again, and then has to be replaced before this one runs.
 */
export interface ProgramState<State = unknown> {
  /** Paths, in the order of the signature. */
  readonly names: readonly string[];
  /** Shape and dtype of each tensor, in the order of the signature. */
  readonly fields: readonly TensorField[];
  /** A copy of one tensor's elements. */
  read(name: string): Promise<TensorData>;
  /** Copies of everything, as the tree of the signature; constants are not among it. */
  readAll(): Promise<Values<State>>;
  /** Replaces one tensor: by a copy of the elements, or by what a handle is. */
  write(name: string, value: TensorValue | Handle): Promise<void>;
  /** Replaces what a tree names, which may be a part of the state; all of it is checked before any of it is written. */
  writeAll(values: Part<InputValues<State>>): Promise<void>;
  /** Makes everything under a name of the signature zero, where it is. */
  clear(name: keyof State & string): Promise<void>;
  /** A handle of one tensor as it is now: until the program runs again, or is disposed. */
  handle(name: string): Handle;
  /** Handles of everything under a name of the signature. */
  handles<Name extends keyof State & string>(name: Name): Handles<State[Name]>;
}

/** What the state needs of its program. */
export interface StateOwner {
  /** Throws while the state cannot be looked at. */
  readonly assertIdle: () => void;
  /** Does something between runs. */
  readonly enqueue: <T>(task: () => Promise<T>) => Promise<T>;
}

/** The state, with what its program needs of it. */
export class StateHolder<State> implements ProgramState<State> {
  readonly names: readonly string[];
  readonly fields: readonly TensorField[];
  private readonly byName: ReadonlyMap<string, TensorField>;
  /** Handles that have become state. */
  private readonly adopted = new Map<string, SharedMemory>();
  /** What was shown of the state, to be ended when it changes. */
  private readonly views = new Map<string, SharedMemory>();
  /**
   * Views that ended when the last run began, and that other programs may still be reading: the next run overwrites
   * them.
   */
  private ended: SharedMemory[] = [];

  constructor(
    private readonly program: string,
    private readonly engine: string,
    private readonly executor: Executor,
    private readonly owner: StateOwner,
  ) {
    this.fields = executor.fields.state;
    this.names = this.fields.map(({ name }) => name);
    this.byName = new Map(this.fields.map((field) => [field.name, field]));
  }

  async read(name: string): Promise<TensorData> {
    const field = this.find(name);
    return this.owner.enqueue(() => this.readNow(field.name));
  }

  async readAll(): Promise<Values<State>> {
    this.owner.assertIdle();
    return this.owner.enqueue(async () => {
      const read: [string, TensorData][] = [];
      for (const name of this.names) read.push([name, await this.readNow(name)]);
      return unflatten(read) as Values<State>;
    });
  }

  async write(name: string, value: TensorValue | Handle): Promise<void> {
    const checked = [this.checked(name, value)];
    return this.owner.enqueue(() => this.writeNow(checked));
  }

  async writeAll(values: Part<InputValues<State>>): Promise<void> {
    const leaves = flatten(values as Tree<TensorValue | Handle>, isLeaf, `Program "${this.program}", state`);
    const checked = [...leaves].map(([name, value]) => this.checked(name, value));
    return this.owner.enqueue(() => this.writeNow(checked));
  }

  async clear(name: string): Promise<void> {
    const fields = this.under(name);
    return this.owner.enqueue(async () => {
      for (const field of fields) {
        await this.release(field.name);
        await this.executor.clearState(field.name);
      }
    });
  }

  handle(name: string): Handle {
    const field = this.find(name);
    const adopted = this.adopted.get(name);
    if (adopted) return new MemoryHandle(this.engine, field, adopted);
    let view = this.views.get(name);
    if (!view) {
      view = new SharedMemory(`${this.program}: ${name}`, this.executor.shareState(name), true);
      this.views.set(name, view);
    }
    return new MemoryHandle(this.engine, field, view);
  }

  handles<Name extends keyof State & string>(name: Name): Handles<State[Name]> {
    const fields = this.under(name);
    if (fields.length === 1 && fields[0]?.name === name) return this.handle(name) as Handles<State[Name]>;
    const leaves = fields.map((field) => [field.name.slice(name.length + 1), this.handle(field.name)] as const);
    return unflatten(leaves) as Handles<State[Name]>;
  }

  /** Does a run: what was shown of state that it changes has ended, what was adopted stays for as long as it takes. */
  async during(run: () => Promise<void>): Promise<void> {
    const { updated } = this.executor.fields;
    const used: SharedMemory[] = [];
    try {
      for (const shared of this.adopted.values()) {
        shared.retain();
        used.push(shared);
      }
      for (const view of this.ended.splice(0)) await view.idle();
      this.ended = this.endViews((name) => updated.has(name), "its program has run again");
      await run();
    } finally {
      for (const shared of used) shared.letGo();
    }
  }

  /** A run has made the next state the state: what was adopted and has changed is no longer it. */
  changed(): void {
    const { updated } = this.executor.fields;
    for (const [name, shared] of this.adopted)
      if (updated.has(name)) {
        this.adopted.delete(name);
        shared.abandon();
      }
  }

  async dispose(): Promise<void> {
    const views = [...this.ended, ...this.endViews(() => true, "its program was disposed")];
    for (const view of views) await view.idle();
    for (const shared of this.adopted.values()) shared.abandon();
    this.adopted.clear();
  }

  private async readNow(name: string): Promise<TensorData> {
    const shared = this.adopted.get(name);
    if (!shared) return this.executor.readState(name);
    const memory = shared.retain();
    try {
      return await memory.read();
    } finally {
      shared.letGo();
    }
  }

  private checked(name: string, value: TensorValue | Handle) {
    const field = this.find(name);
    if (!isHandle(value)) return { name, value: elementsOf(value, field, this.program) };
    return { name, value: value.fitting(`Program "${this.program}": "${name}"`, field, this.engine) };
  }

  private async writeNow(values: readonly { readonly name: string; readonly value: TensorData | SharedMemory }[]) {
    for (const { name, value } of values) {
      if (!(value instanceof SharedMemory)) {
        await this.release(name);
        await this.executor.writeState(name, value);
        continue;
      }
      const memory = value.retain();
      try {
        value.adopt(); // before the last one is let go: it may be the same
        await this.release(name);
        if (await this.executor.adoptState(name, memory)) this.adopted.set(name, value);
        else value.abandon();
      } finally {
        value.letGo();
      }
    }
  }

  /** Before a state tensor is replaced: nobody is shown it any more, and what it was is let go. */
  private async release(name: string): Promise<void> {
    for (const view of this.endViews((shown) => shown === name, "it was written to")) await view.idle();
    this.adopted.get(name)?.abandon();
    this.adopted.delete(name);
  }

  private endViews(which: (name: string) => boolean, why: string): SharedMemory[] {
    return [...this.views].flatMap(([name, view]) => {
      if (!which(name)) return [];
      this.views.delete(name);
      view.end(why);
      return [view];
    });
  }

  private find(name: string): TensorField {
    this.owner.assertIdle();
    const field = this.byName.get(name);
    if (!field)
      throw new RangeError(
        `Program "${this.program}" has no state "${name}"; it has ${nearest(name, [...this.byName.keys()])}`,
      );
    return field;
  }

  /** Tensors under a name. */
  private under(name: string): TensorField[] {
    const found = this.fields.filter((field) => field.name === name || field.name.startsWith(`${name}/`));
    return found.length > 0 ? found : [this.find(name)];
  }
}

function isLeaf(value: unknown): value is TensorValue | Handle {
  return isValue(value) || isHandle(value);
}

/** The names most like `name`, for messages: all of them if they are few. */
function nearest(name: string, names: readonly string[]): string {
  const shared = (other: string): number => {
    let length = 0;
    while (length < other.length && other[length] === name[length]) length++;
    return length;
  };
  const shown = [...names].sort((a, b) => shared(b) - shared(a)).slice(0, 5);
  const rest = names.length - shown.length;
  return names.length === 0 ? "none" : shown.map((n) => `"${n}"`).join(", ") + (rest > 0 ? ` and ${rest} more` : "");
}

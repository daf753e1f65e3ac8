import { availableParallelism } from "node:os";
import type { Update } from "./split-updates.js";
import { elementwiseModule, kernelName, LANES, type ElementwiseKernel } from "./elementwise-kernel.js";
import { PAGE_BYTES, WebAssembly, type WebAssemblyMemory } from "../../wasm/webassembly.js";
import { KernelThreads, type KernelCall } from "./kernel-threads.js";

/** A tensor's place: its elements, and where they start in the kernels' memory, in bytes. */
interface Place {
  readonly data: Float32Array;
  readonly at: number;
}

/** Updates with the same expression and scalars: they run as one, for their tensors lie one after another. */
interface Group {
  readonly kernel: string;
  /** Groups of four elements, of all members together. */
  readonly count: number;
  readonly scalars: readonly string[];
  /** Where the group's scalars lie side by side. */
  readonly scalarsAt: number;
  /**
   * First addresses of the tensors and results when state copy 0 is read and copy 1 written, and the other way round.
   */
  readonly addresses: readonly [readonly number[], readonly number[]];
}

/** Tensors start at multiples of this many bytes. */
const ALIGNMENT = 64;

/** Bytes that one memory can hold, less a page. */
const MAX_BYTES = 2 ** 32 - PAGE_BYTES;

/** From this many elements on, updates run on threads of their own. */
const MIN_THREADED = 1 << 18;

/** More threads than this wait for memory. */
const MAX_THREADS = 8;

/** Every tensor that updates touch is padded to whole groups of four elements. */
const paddedBytes = (size: number): number => Math.ceil(size / LANES) * LANES * 4;

/**
 * Runs the updates of a split graph, and owns the memory of all tensors they read and write. State lies there in two
 * copies; tensors in the same part of equal updates lie side by side, so that one call serves all parameters.
 */
export class UpdateRunner implements Disposable {
  private readonly states = new Map<string, readonly [Place, Place]>();
  private readonly results = new Map<string, Place>();
  private readonly groups: readonly Group[];
  private readonly kernels: Record<string, ElementwiseKernel>;
  private readonly threads: KernelThreads | undefined;
  private readonly memory: WebAssemblyMemory<SharedArrayBuffer>;

  /** Whether the tensors of these updates fit into one memory. */
  static fits(updates: readonly Update[]): boolean {
    return bytesOf(updates) <= MAX_BYTES;
  }

  constructor(updates: readonly Update[], threads: number | undefined) {
    const byKey = new Map<string, Update[]>();
    for (const update of updates) {
      const key = JSON.stringify([update.expression, update.scalars, update.operands.map(({ kind }) => kind)]);
      byKey.set(key, [...(byKey.get(key) ?? []), update]);
    }
    const pages = Math.ceil(bytesOf(updates) / PAGE_BYTES);
    this.memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
    new Uint8Array(this.memory.buffer).fill(0); // maps the pages: a first write to fresh ones is several times slower
    let end = 0;
    const allocate = (size: number): Place => {
      const place = { data: new Float32Array(this.memory.buffer, end, size), at: end };
      end += paddedBytes(size);
      return place;
    };
    const align = (): void => void (end = Math.ceil(end / ALIGNMENT) * ALIGNMENT);
    /** Both copies of one part's state in all members, one copy after the other. */
    const allocateStates = (names: readonly { readonly name: string; readonly size: number }[]): void => {
      const copies = [0, 1].map(() => {
        align();
        return names.map(({ size }) => allocate(size));
      }) as [Place[], Place[]];
      names.forEach(({ name }, i) => this.states.set(name, [copies[0][i]!, copies[1][i]!]));
    };

    this.groups = [...byKey.values()].map((members, index): Group => {
      const [first] = members as [Update];
      first.operands.forEach((operand, part) => {
        const list = members.map(({ operands }) => operands[part]!);
        const known = (name: string) => (operand.kind === "state" ? this.states : this.results).has(name);
        if (list.every(({ name }) => known(name))) return;
        if (operand.kind === "state") return allocateStates(list);
        align();
        for (const { name, size } of list) this.results.set(name, allocate(size));
      });
      first.state.forEach((_, part) => {
        const list = members.map(({ state, operands }) => ({ name: state[part]!, size: operands[0]!.size }));
        if (!list.every(({ name }) => this.states.has(name))) allocateStates(list);
      });
      align();
      const scalarsAt = end;
      for (const _ of first.scalars) allocate(1);
      const addresses = ([0, 1] as const).map((from) => [
        ...first.operands.map(({ kind, name }) =>
          kind === "state" ? this.states.get(name)![from].at : this.results.get(name)!.at,
        ),
        ...first.state.map((name) => this.states.get(name)![from === 0 ? 1 : 0].at),
      ]) as [number[], number[]];
      const bytes = members.reduce((sum, { operands }) => sum + paddedBytes(operands[0]!.size), 0);
      return { kernel: kernelName(index), count: bytes / 4 / LANES, scalars: first.scalars, scalarsAt, addresses };
    });
    for (const name of new Set(updates.flatMap(({ scalars }) => scalars))) this.results.set(name, allocate(1));

    const module = new WebAssembly.Module(elementwiseModule([...byKey.values()].map(([member]) => member!.expression)));
    const { exports } = new WebAssembly.Instance(module, { env: { memory: this.memory } });
    this.kernels = exports as Record<string, ElementwiseKernel>;
    const elements = this.groups.reduce((sum, { count }) => sum + count * LANES, 0);
    const wanted = Math.min(threads ?? availableParallelism(), MAX_THREADS);
    this.threads = elements >= MIN_THREADED ? new KernelThreads(module, this.memory, wanted) : undefined;
  }

  /** The two copies of a state tensor that updates touch. */
  state(name: string): readonly [Float32Array, Float32Array] | undefined {
    const places = this.states.get(name);
    return places && [places[0].data, places[1].data];
  }

  /** Names of the graph's outputs that updates read, with the memory they must be written to. */
  get operands(): ReadonlyMap<string, Float32Array> {
    return new Map([...this.results].map(([name, { data }]) => [name, data]));
  }

  /** Computes the next state: reads copy `from` of the state, writes the other one. */
  async run(from: 0 | 1): Promise<void> {
    const calls = this.groups.map(({ kernel, count, scalars, scalarsAt, addresses }): KernelCall => {
      const values = new Float32Array(this.memory.buffer, scalarsAt, scalars.length * LANES);
      scalars.forEach((name, i) => (values[i] = this.results.get(name)!.data[0] ?? NaN));
      return { kernel, count, scalarsAt, addresses: addresses[from] };
    });
    if (this.threads) return this.threads.run(calls);
    for (const { kernel, count, scalarsAt, addresses } of calls) this.kernels[kernel]!(count, scalarsAt, ...addresses);
  }

  [Symbol.dispose](): void {
    this.threads?.[Symbol.dispose]();
  }
}

/** Bytes of all tensors that updates touch, no less than a runner needs. */
function bytesOf(updates: readonly Update[]): number {
  let bytes = PAGE_BYTES;
  for (const { operands, state, scalars } of updates) {
    const size = paddedBytes(operands[0]?.size ?? 0);
    const names = new Set([...operands.filter(({ kind }) => kind === "state").map(({ name }) => name), ...state]);
    const results = operands.filter(({ kind }) => kind === "result").length;
    const tensors = 2 * names.size + results;
    bytes += tensors * (size + ALIGNMENT) + 2 * scalars.length * paddedBytes(1) + ALIGNMENT;
  }
  return bytes;
}

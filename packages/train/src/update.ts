import { compile, type Program } from "@madformer/engine";
import {
  gradientSignature,
  gradientStep,
  initialize,
  madformerSpecs,
  trainSignature,
  trainStep,
  updateSignature,
  updateStep,
} from "@madformer/model";
import type { Batch } from "./batch.js";
import { PARTS, type Part, type Weights } from "./checkpoint.js";
import type { TrainConfig } from "./config.js";

/** Losses and the norm of the gradients before clipping: of one step, or means of several. */
export const MEASURES = ["loss", "image", "hidden", "clean", "gradNorm"] as const;
export type Measures = Readonly<Record<(typeof MEASURES)[number], number>>;

/** Where training begins: its state, but that moments which are missing are zero. */
export type FirstState = Readonly<Pick<Record<Part, Weights>, "params" | "ema"> & Partial<Record<Part, Weights>>>;

type Outputs = Readonly<Record<string, Float32Array>>;

/**
 * The state of training and the programs that change it: one for a whole step, or, where a step has several runs, one that
 * adds up gradients and one that makes the update.
 */
export class Update implements AsyncDisposable {
  /** Losses of the runs of a step so far, their means in the end. */
  private sums: Record<string, number> = {};

  private constructor(
    private readonly runs: number,
    /** Holds the state. */
    private readonly main: Program,
    /** Adds up gradients; only where a step has several runs. */
    private readonly gradients: Program | undefined,
  ) {}

  /** @param from Where training goes on; without it, it begins with weights that are drawn by the seed. */
  static async create(config: TrainConfig, from: FirstState | undefined): Promise<Update> {
    const { model, loss, optimizer, accumulate, batchImages } = config;
    const first = from ? undefined : initialize(madformerSpecs(model), config.seed);
    const initialState = from
      ? Object.fromEntries(PARTS.flatMap((part) => (from[part] ? [[part, from[part]]] : [])))
      : { params: first as Weights, ema: first as Weights };
    if (accumulate === 1) {
      const options = { name: "training step", initialState };
      const step = trainStep(model, loss, optimizer);
      return new Update(1, await compile(step, trainSignature(model, batchImages), options), undefined);
    }
    const main = await compile(updateStep(optimizer), updateSignature(model), { name: "update", initialState });
    const gradients = await compile(gradientStep(model, loss, 1 / accumulate), gradientSignature(model, batchImages), {
      name: "gradients",
      initialState: { params: initialState["params"] as Weights },
    });
    return new Update(accumulate, main, gradients);
  }

  /**
   * Runs the network forward and backward on a part of a step's images.
   *
   * @param batch Borrowed until the run has ended.
   * @param scalars Given with the last part of a step: the update's, as `stepScalars` makes them.
   * @returns The step's measures, with its last part.
   */
  async run(batch: Batch, scalars: Float32Array | undefined): Promise<Measures | undefined> {
    const { latents, noise, t } = batch;
    if (!this.gradients)
      return numbersOf((await this.main.run({ latents, noise, t, scalars } as never)) as Outputs) as Measures;
    const losses = numbersOf((await this.gradients.run({ latents, noise, t })) as Outputs);
    for (const [name, value] of Object.entries(losses)) this.sums[name] = (this.sums[name] ?? 0) + value / this.runs;
    if (!scalars) return undefined;
    const { sum } = this.gradients.state.readAll() as { sum: Weights };
    const { gradNorm } = numbersOf((await this.main.run({ gradients: sum, scalars })) as Outputs);
    for (const values of Object.values(sum)) values.fill(0);
    this.gradients.state.writeAll({ params: this.part("params"), sum });
    const measures = { ...this.sums, gradNorm } as unknown as Measures;
    this.sums = {};
    return measures;
  }

  /** A copy of one tensor of the state. */
  read(part: Part, key: string): Float32Array {
    return this.main.state.read(`${part}/${key}`) as Float32Array;
  }

  /** Copies of a part of the state. */
  part(part: Part): Weights {
    const keys = this.main.state.names.filter((name) => name.startsWith(`${part}/`));
    return Object.fromEntries(keys.map((name) => [name.slice(part.length + 1), this.main.state.read(name)])) as Weights;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.main.dispose();
    await this.gradients?.dispose();
  }
}

function numbersOf(outputs: Outputs): Record<string, number> {
  return Object.fromEntries(Object.entries(outputs).map(([name, [value = NaN]]) => [name, value]));
}

import { compile, type Handles, type TensorData, type TensorSpec } from "@madformer/engine";
import {
  gradientSignature,
  gradientStep,
  initialize,
  madformerSpecs,
  trainedSpecs,
  trainSignature,
  trainStep,
  updateSignature,
  updateStep,
} from "@madformer/model";
import type { Batch } from "./batch.js";
import type { Part, Weights } from "./checkpoint.js";
import type { TrainConfig } from "./config.js";

/** Losses and the norm of the gradients before clipping: of one step, or means of several. */
export const MEASURES = ["loss", "image", "hidden", "clean", "gradNorm"] as const;
export type Measures = Readonly<Record<(typeof MEASURES)[number], number>> & {
  /** The text loss, where there is one. */
  readonly text?: number;
};

/** The measures that a run has. */
export function measuresOf({ model, loss }: TrainConfig): readonly (keyof Measures)[] {
  return loss.lambdaText > 0 && model.text?.head ? [...MEASURES, "text"] : MEASURES;
}

/** Where training begins: its state, but that moments which are missing are zero. */
export type FirstState = Readonly<Pick<Record<Part, Weights>, "params" | "ema"> & Partial<Record<Part, Weights>>>;

/** A whole step of one run. */
const compileStep = (config: TrainConfig, initialState: FirstState) =>
  compile(
    trainStep(config.model, config.loss, config.optimizer),
    trainSignature(config.model, config.batchImages, config.loss),
    { name: "training step", initialState },
  );

/** The end of a step of several runs: it holds the state. */
const compileUpdate = ({ model, loss, optimizer }: TrainConfig, initialState: FirstState) =>
  compile(updateStep(optimizer), updateSignature(model, loss), { name: "update", initialState });

/** The runs of a step: they add up gradients. The parameters are those of the update, where they lie. */
const compileGradients = ({ model, loss, accumulate, batchImages }: TrainConfig, params: Handles<Specs>) =>
  compile(gradientStep(model, loss, 1 / accumulate), gradientSignature(model, batchImages, loss), {
    name: "gradients",
    initialState: { params },
  });

type Specs = Readonly<Record<string, TensorSpec>>;
type Compiled<Compile extends (...args: never[]) => unknown> = Awaited<ReturnType<Compile>>;

/**
 * The programs of a step: one for all of it, or, where it has several runs, one that adds up gradients and one that
 * updates.
 */
type Programs =
  | { readonly kind: "whole"; readonly main: Compiled<typeof compileStep> }
  | {
      readonly kind: "parts";
      readonly main: Compiled<typeof compileUpdate>;
      readonly gradients: Compiled<typeof compileGradients>;
    };

/**
 * The state of training and the programs that change it. Between the programs of a step nothing is copied: each takes
 * what the other has, parameters one way and gradients the other.
 */
export class Update implements AsyncDisposable {
  /** Losses of the runs of a step so far, their means in the end. */
  private sums: Record<string, number> = {};

  private constructor(
    private readonly runs: number,
    private readonly programs: Programs,
    private readonly measures: readonly (keyof Measures)[],
    /** What is not trained, and stays as it is (`trainedSpecs`). */
    private readonly still: Pick<FirstState, "params" | "ema">,
  ) {}

  /** @param from Where training goes on; without it, it begins with weights that are drawn by the seed. */
  static async create(config: TrainConfig, from: FirstState | undefined): Promise<Update> {
    const { accumulate } = config;
    const { moved: initialState, still } = apart(config, from ? partsOf(from) : firstWeights(config));
    const measures = measuresOf(config);
    if (accumulate === 1)
      return new Update(1, { kind: "whole", main: await compileStep(config, initialState) }, measures, still);
    const main = await compileUpdate(config, initialState);
    const gradients = await compileGradients(config, main.state.handles("params"));
    return new Update(accumulate, { kind: "parts", main, gradients }, measures, still);
  }

  /**
   * Runs the network forward and backward on a part of a step's images.
   *
   * @param batch Borrowed until the run has ended.
   * @param scalars Given with the last part of a step: the update's, as `stepScalars` makes them.
   * @returns The step's measures, with its last part.
   */
  async run(batch: Batch, scalars: Float32Array | undefined): Promise<Measures | undefined> {
    const { programs } = this;
    if (programs.kind === "whole") {
      if (!scalars) throw new TypeError("Cannot make a step of one run: its scalars are missing");
      return this.chosen(numbersOf(await programs.main.run({ ...batch, scalars })));
    }
    const { main, gradients } = programs;
    const losses = numbersOf(await gradients.run({ ...batch }));
    for (const [name, value] of Object.entries(losses)) this.sums[name] = (this.sums[name] ?? 0) + value / this.runs;
    if (!scalars) return undefined;
    const { gradNorm } = numbersOf(await main.run({ gradients: gradients.state.handles("sum"), scalars }));
    await gradients.state.clear("sum");
    await gradients.state.writeAll({ params: main.state.handles("params") });
    const measures = this.chosen({ ...this.sums, gradNorm });
    this.sums = {};
    return measures;
  }

  /** Of some numbers those that are measures of this run. */
  private chosen(numbers: Readonly<Record<string, number>>): Measures {
    return Object.fromEntries(this.measures.map((name) => [name, numbers[name] ?? NaN])) as unknown as Measures;
  }

  /** A copy of one tensor of the state. */
  async read(part: Part, key: string): Promise<Float32Array> {
    const still = this.still.params[key];
    if (still)
      return part === "params" ? still : part === "ema" ? this.still.ema[key]! : new Float32Array(still.length);
    return (await this.programs.main.state.read(`${part}/${key}`)) as Float32Array;
  }

  /** Copies of a part of the state. */
  async part(part: Part): Promise<Weights> {
    const { names } = this.programs.main.state;
    const keys = names.flatMap((name) => (name.startsWith(`${part}/`) ? [name.slice(part.length + 1)] : []));
    const weights: Weights = {};
    for (const key of [...keys, ...Object.keys(this.still.params)]) weights[key] = await this.read(part, key);
    return weights;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.programs.kind === "parts") await this.programs.gradients.dispose();
    await this.programs.main.dispose();
  }
}

function partsOf(from: FirstState): FirstState {
  const { params, ema, m, v } = from;
  return { params, ema, ...(m ? { m } : {}), ...(v ? { v } : {}) };
}

/** What training moves of a state, and what stays. */
function apart({ model, loss }: TrainConfig, state: FirstState) {
  const trained = trainedSpecs(model, loss);
  const part = (weights: Weights, moves: boolean): Weights =>
    Object.fromEntries(Object.entries(weights).filter(([key]) => key in trained === moves));
  const { params, ema, m, v } = state;
  const moved: FirstState = {
    params: part(params, true),
    ema: part(ema, true),
    ...(m ? { m: part(m, true) } : {}),
    ...(v ? { v: part(v, true) } : {}),
  };
  return { moved, still: { params: part(params, false), ema: part(ema, false) } };
}

function firstWeights({ model, seed }: TrainConfig): FirstState {
  const first = initialize(madformerSpecs(model), seed);
  return { params: first, ema: first };
}

/** The elements of scalars, by name. */
function numbersOf<Outputs extends object>(outputs: Outputs): Record<keyof Outputs & string, number> {
  const numbers = Object.entries<TensorData>(outputs as Record<string, TensorData>).map(([name, [value = NaN]]) => [
    name,
    value,
  ]);
  return Object.fromEntries(numbers) as Record<keyof Outputs & string, number>;
}

import {
  compile,
  type CompileOptions,
  type Handles,
  type InputValues,
  type ProgramState,
  type TensorData,
  type Tensors,
  type TensorSpec,
  type Tree,
} from "@madformer/engine";
import { addGradients } from "./accumulate.js";
import type { OptimizerConfig } from "./adamw.js";
import type { TensorsByName } from "./gradients.js";
import type { Losses } from "./loss.js";
import {
  clippedUpdate,
  SCALARS_SPEC,
  stateSpecs,
  trainStep,
  type ParameterShapes,
  type TrainingState,
} from "./step.js";

/** What is trained, and how. */
export interface Training<Batch extends Tree<TensorSpec>, Term extends string> {
  /** Of its programs, for messages: `autoencoder`. */
  readonly name: string;
  readonly parameters: ParameterShapes;
  /** Shapes of what one run of the network sees. */
  readonly batch: Batch;
  /** Makes the loss of a batch, and its terms. */
  readonly loss: (params: TensorsByName, batch: Tensors<Batch>) => Losses<Term>;
  readonly optimizer: OptimizerConfig;
  /** Runs whose gradients are averaged for one update; 1 if nothing is said. */
  readonly accumulate?: number;
  /** How its programs are compiled. */
  readonly compile?: Pick<CompileOptions, "engine" | "session">;
}

/** Numbers by parameter, laid out as programs take them. */
export type Weights = Record<string, Float32Array>;

/** Where training begins: its state, except that moments which are missing are zero. */
export interface FirstState {
  readonly params: Weights;
  readonly ema: Weights;
  readonly m?: Weights;
  readonly v?: Weights;
}

/** What is measured of a step: losses, and the norm of the gradients before clipping. */
export type Measures<Term extends string> = Readonly<Record<Term | "loss" | "gradNorm", number>>;

/** A whole step of one run. */
const compileStep = <Batch extends Tree<TensorSpec>, Term extends string>(
  { name, parameters, batch, loss, optimizer, compile: options }: Training<Batch, Term>,
  initialState: FirstState,
) =>
  compile(
    (state, inputs) => trainStep(state, (params) => loss(params, inputs.batch), inputs.scalars, optimizer),
    { state: stateSpecs(parameters), inputs: { batch, scalars: SCALARS_SPEC } },
    { ...options, name: `${name} step`, initialState },
  );

/** The end of a step of several runs: it holds the state. */
const compileUpdate = (
  { name, parameters, optimizer, compile: options }: Omit<Training<Tree<TensorSpec>, string>, "batch" | "loss">,
  initialState: FirstState,
) => {
  const state = stateSpecs(parameters);
  return compile(
    (state, { gradients, scalars }) => {
      const { next, gradNorm } = clippedUpdate(state, gradients, scalars, optimizer);
      return { state: next, outputs: { gradNorm } };
    },
    { state, inputs: { gradients: state.params, scalars: SCALARS_SPEC } },
    { ...options, name: `${name} update`, initialState },
  );
};

/** The runs of a step: they add up gradients. The parameters are those of the update, where they lie. */
const compileGradients = <Batch extends Tree<TensorSpec>, Term extends string>(
  { name, parameters, batch, loss, compile: options }: Training<Batch, Term>,
  share: number,
  params: Handles<Specs>,
) => {
  const specs = stateSpecs(parameters).params;
  return compile(
    (state, inputs) => addGradients(state, (params) => loss(params, inputs.batch), share),
    { state: { params: specs, sum: specs }, inputs: { batch } },
    { ...options, name: `${name} gradients`, initialState: { params } },
  );
};

type Specs = Readonly<Record<string, TensorSpec>>;
type Program<Compile extends (...args: never[]) => unknown> = Awaited<ReturnType<Compile>>;

/**
 * The programs of a step: one for all of it, or, where it has several runs, one that adds up gradients and one that
 * updates.
 */
type Programs<Batch extends Tree<TensorSpec>, Term extends string> =
  | { readonly kind: "whole"; readonly main: Program<typeof compileStep<Batch, Term>> }
  | {
      readonly kind: "parts";
      readonly main: Program<typeof compileUpdate>;
      readonly gradients: Program<typeof compileGradients<Batch, Term>>;
    };

/**
 * The state of training and the programs that change it. Between the programs of a step nothing is copied: each takes
 * what the other has, parameters one way and gradients the other.
 */
export class Trainer<Batch extends Tree<TensorSpec>, Term extends string> implements AsyncDisposable {
  /** Losses of the runs of a step so far, their means in the end. */
  private sums: Record<string, number> = {};

  private constructor(
    private readonly runs: number,
    private readonly programs: Programs<Batch, Term>,
  ) {}

  /** @param first Borrowed: it is copied. */
  static async create<const Batch extends Tree<TensorSpec>, Term extends string>(
    training: Training<Batch, Term>,
    { params, ema, m, v }: FirstState,
  ): Promise<Trainer<Batch, Term>> {
    const { accumulate: runs = 1 } = training;
    const first = { params, ema, ...(m ? { m } : {}), ...(v ? { v } : {}) };
    if (runs === 1) return new Trainer(1, { kind: "whole", main: await compileStep(training, first) });
    const main = await compileUpdate(training, first);
    const gradients = await compileGradients(training, 1 / runs, main.state.handles("params"));
    return new Trainer(runs, { kind: "parts", main, gradients });
  }

  /** Parameters, moments and averages, as they are between two steps. */
  get state(): ProgramState<ReturnType<typeof stateSpecs>> {
    return this.programs.main.state;
  }

  /**
   * Runs the network forward and backward on a part of a step's images.
   *
   * @param batch Borrowed until the run has ended.
   * @param scalars Given with the last part of a step: the update's, as `stepScalars` makes them.
   * @returns The step's measures, with its last part.
   */
  async run(batch: InputValues<Batch>, scalars: Float32Array | undefined): Promise<Measures<Term> | undefined> {
    const { programs } = this;
    if (programs.kind === "whole") {
      if (!scalars) throw new TypeError("Cannot make a step of one run: its scalars are missing");
      return numbersOf(await programs.main.run({ batch, scalars }));
    }
    const { main, gradients } = programs;
    const losses = numbersOf(await gradients.run({ batch }));
    for (const [name, value] of Object.entries<number>(losses))
      this.sums[name] = (this.sums[name] ?? 0) + value / this.runs;
    if (!scalars) return undefined;
    const { gradNorm } = numbersOf(await main.run({ gradients: gradients.state.handles("sum"), scalars }));
    await gradients.state.clear("sum");
    await gradients.state.writeAll({ params: main.state.handles("params") });
    const means = { ...this.sums, gradNorm };
    this.sums = {};
    return means as Measures<Term>;
  }

  /** A copy of one tensor of the state. */
  async read(part: keyof TrainingState, name: string): Promise<Float32Array> {
    return (await this.state.read(`${part}/${name}`)) as Float32Array;
  }

  /** Copies of a part of the state. */
  async part(part: keyof TrainingState): Promise<Weights> {
    const { names } = this.state;
    const keys = names.flatMap((name) => (name.startsWith(`${part}/`) ? [name.slice(part.length + 1)] : []));
    const weights: Weights = {};
    for (const key of keys) weights[key] = await this.read(part, key);
    return weights;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.programs.kind === "parts") await this.programs.gradients.dispose();
    await this.programs.main.dispose();
  }
}

/** The elements of scalars, by name. */
function numbersOf<Outputs extends Readonly<Record<string, TensorData>>>(
  outputs: Outputs,
): { readonly [Name in keyof Outputs]: number } {
  const numbers = Object.entries(outputs).map(([name, [value = NaN]]) => [name, value]);
  return Object.fromEntries(numbers) as { readonly [Name in keyof Outputs]: number };
}

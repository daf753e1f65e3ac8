import { compile, spec, type Program, type SessionOptions, type TensorSpec, type EngineName } from "@madformer/engine";
import type * as tf from "@tensorflow/tfjs-core";
import { geometryOf, type MadformerConfig } from "../config.js";
import { coefficientsOf, type SolverPlan, type SolverStep } from "../diffusion/solver.js";
import { assertFinite, inBatch, type NameOf } from "../finite.js";
import { madformerSpecs } from "../madformer.js";
import { parameterCount, type Parameters } from "../parameters.js";
import { KeyValueCache } from "./key-value-cache.js";
import {
  cachedLayers,
  contextProgram,
  denoiseProgram,
  firstProgram,
  ropeInputs,
  shiftChannels,
  timeProgram,
  usesContext,
  type SamplingShape,
} from "./programs.js";

/** Copies of the weights that programs of one block number each may take, in bytes; beyond, one program serves all blocks. */
const MAX_COPIES_BYTES = 2 ** 30;

export interface SamplerOptions {
  /** Images generated together, N. */
  readonly batchImages: number;
  readonly engine?: EngineName;
  readonly session?: SessionOptions;
  /**
   * `per-block`: programs of their own for each block number, over exactly the keys there are; `shared`: one for all, with
   * a mask over keys that are not there yet. Default: `per-block` while the copies of the weights stay below 1 GiB.
   */
  readonly programs?: "per-block" | "shared";
}

/** What a step has done; for progress and for tests. All arrays are new. */
export interface StepReport {
  readonly block: number;
  readonly step: number;
  /** (N, P, channels): the network's prediction of the noise. */
  readonly noise: Float32Array;
  /** (N, P, channels): the block after the step. */
  readonly next: Float32Array;
}

/** How a batch is sampled, besides the solver. */
export interface SampleOptions {
  /** Is told of every step. */
  readonly onStep?: (report: StepReport) => void;
  /** Stops before the next step when it is aborted. */
  readonly signal?: AbortSignal;
  /** What an error calls an image. */
  readonly nameOf?: NameOf;
}

type Values = Record<string, unknown>;

/**
 * Generates images block by block: a finished block is embedded as clean tokens, whose keys and values are kept; the next
 * block starts as noise and is denoised in the light of them.
 *
 * Source: arXiv:2506.07999, section 3.3; spec section 12.
 *
 * @example
 * await using sampler = await Sampler.create(config, weights, { batchImages: 4 });
 * const latents = await sampler.sample(dpmSolver(25), noise); // (N, T, P, channels)
 */
export class Sampler implements AsyncDisposable {
  private readonly programs = new Map<string, Promise<Program>>();
  private disposed = false;

  private constructor(
    readonly config: MadformerConfig,
    private readonly weights: Readonly<Record<string, Float32Array>>,
    private readonly options: SamplerOptions,
    private readonly shared: boolean,
  ) {}

  /**
   * @param weights By key, laid out as programs take them (`fromStateDict`). Not copied: leave them as they are.
   */
  static async create(
    config: MadformerConfig,
    weights: Readonly<Record<string, Float32Array>>,
    options: SamplerOptions,
  ): Promise<Sampler> {
    const copies = 4 * parameterCount(madformerSpecs(config)) * config.blocks;
    const programs = options.programs ?? (copies <= MAX_COPIES_BYTES ? "per-block" : "shared");
    return new Sampler(config, weights, options, programs === "shared");
  }

  /**
   * Generates a batch of latents.
   *
   * @param plan The solver's steps.
   * @param noise (N, T, P, channels) float32, standard normal: what each block starts as.
   * @returns (N, T, P, channels) float32, scaled latents.
   * @throws {RangeError} If the noise has another size, or latents are not finite after a step.
   * @throws {Error} If the sampler was disposed.
   */
  async sample(
    plan: SolverPlan,
    noise: Float32Array,
    { onStep, signal, nameOf = inBatch }: SampleOptions = {},
  ): Promise<Float32Array> {
    const { config } = this;
    const { batchImages: N } = this.options;
    const { T, P, M, D } = geometryOf(config);
    if (this.disposed) throw new Error("Cannot sample: the sampler was disposed");
    const size = P * config.latentChannels; // of a block
    if (noise.length !== N * T * size)
      throw new RangeError(
        `Cannot sample: the noise has ${noise.length} elements, expected (${N}, ${T}, ${P}, ${config.latentChannels})`,
      );
    const times = await this.timesOf(plan.steps);
    const room = T - 1;
    const cache = new KeyValueCache(N * config.heads, D, this.shared ? room * M : 0);
    const result = new Float32Array(noise.length);
    let before: Float32Array | undefined;

    for (let block = 0; block < T; block++) {
      const shape: SamplingShape = {
        config,
        batchImages: N,
        cacheBlocks: this.shared ? room : block,
        masked: this.shared,
      };
      const condition = await this.condition(shape, block, before, cache, times.clean);
      let x = gatherBlock(noise, N, T, block, size);
      let previousData = new Float32Array(x.length);
      const program = await this.denoise(shape, plan.clip);
      const fixed = {
        ...(condition ? { condition } : {}),
        rope: ropeInputs(config, block),
        ...this.cacheInputs(program, cache, block),
      };
      for (const [step, coefficients] of plan.steps.entries()) {
        signal?.throwIfAborted();
        const inputs: Values = {
          x,
          previousData,
          coefficients: coefficientsOf(coefficients),
          down: times.down(step),
          up: times.up(step),
          ...fixed,
        };
        const {
          noise: predicted,
          next,
          data,
          keys,
          values,
        } = (await program.run(inputs as never)) as unknown as DenoiseResult;
        onStep?.({ block, step, noise: predicted, next });
        assertFinite(next, N, (image) => {
          const place = `step ${step + 1} of ${plan.steps.length} of block ${block + 1} of ${T}`;
          return `Cannot sample ${nameOf(image)}: its latents are not finite after ${place}`;
        });
        [x, previousData] = [next, data];
        if (step === plan.steps.length - 1) appendAll(cache, keys, values);
      }
      scatterBlock(result, x, N, T, block, size);
      before = x;
    }
    return result;
  }

  /**
   * The programs that sampling has compiled so far, by name: to save them with `saveProgram`. With `programs: "shared"` they
   * are `time <timesteps>`, `first`, `context` and `denoise`, as far as the network has them; `denoise clip` for a plan that
   * clips. Borrowed: they are freed with the sampler.
   */
  async compiled(): Promise<ReadonlyMap<string, Program>> {
    const all = [...this.programs].map(
      async ([name, program]) => [name.trim().replace(/ +/g, " "), await program] as const,
    );
    return new Map(await Promise.all(all));
  }

  /** Frees all programs, once their runs have ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.disposed = true;
    for (const program of this.programs.values()) await (await program).dispose();
    this.programs.clear();
  }

  /** What the plan's timesteps add in the U-Net, and what the clean blocks' timestep adds. */
  private async timesOf(steps: readonly SolverStep[]) {
    const { config } = this;
    const last = steps.at(-1)?.timestep ?? 0;
    const clean = config.quirks.cleanTimestep === "zero" ? 0 : last;
    const t = Float32Array.from([...steps.map(({ timestep }) => timestep), clean]);
    const { inputs, run } = timeProgram(config, t.length);
    const program = await this.program(`time ${t.length}`, inputs, run);
    const { down, up } = (await program.run({ t })) as unknown as Record<"down" | "up", Float32Array>;
    const row = (packed: Float32Array, way: "down" | "up", step: number): Float32Array => {
      const channels = shiftChannels(config, way);
      return packed.slice(step * channels, (step + 1) * channels);
    };
    const at = (step: number) => ({ down: row(down, "down", step), up: row(up, "up", step) });
    const rows = t.map((_, step) => step);
    const table = Array.from(rows, at);
    return {
      down: (step: number) => table[step]?.down as Float32Array,
      up: (step: number) => table[step]?.up as Float32Array,
      clean: table.at(-1)?.down as Float32Array,
    };
  }

  /** The condition of a block, if the network is conditioned; the block before leaves its keys and values in the cache. */
  private async condition(
    shape: SamplingShape,
    block: number,
    before: Float32Array | undefined,
    cache: KeyValueCache,
    shifts: Float32Array,
  ): Promise<Float32Array | undefined> {
    const { config, batchImages: N } = shape;
    if (before === undefined) {
      if (config.clearCond) return undefined;
      const { inputs, run } = firstProgram(config);
      const program = await this.program("first", inputs, run);
      const values = { boi: this.weights["boi_block"], rope: ropeInputs(config, 0) };
      const first = (await program.run(values as never)) as unknown as ContextResult;
      const repeated = (part: Record<string, Float32Array> = {}): Record<string, Float32Array> =>
        Object.fromEntries(Object.entries(part).map(([layer, data]) => [layer, repeat(data, N)]));
      appendAll(cache, repeated(first.keys), repeated(first.values));
      return repeat(first.condition as Float32Array, N);
    }
    if (!usesContext(config)) return undefined;
    // The cache holds what came before the block that is embedded now: one block less.
    const finished = config.clearClean ? block : block - 1;
    const context = contextProgram(this.shared ? shape : { ...shape, cacheBlocks: finished });
    const program = await this.program(`context ${this.shared ? "" : finished}`, context.inputs, context.run);
    const values = {
      latents: before,
      shifts,
      clean: ropeInputs(config, block - 1),
      noised: ropeInputs(config, block),
      ...this.cacheInputs(program, cache, finished),
    };
    const result = (await program.run(values)) as unknown as ContextResult;
    appendAll(cache, result.keys, result.values);
    return result.condition;
  }

  private denoise({ config, ...shape }: SamplingShape, clip: boolean): Promise<Program> {
    const { inputs, run } = denoiseProgram({ config, ...shape }, clip);
    return this.program(`denoise ${this.shared ? "" : shape.cacheBlocks}${clip ? " clip" : ""}`, inputs, run);
  }

  /** The cache as inputs of a program, where it takes it. */
  private cacheInputs(program: Program, cache: KeyValueCache, blocks: number): Values {
    const layers = cachedLayers(this.config).filter((layer) =>
      program.inputs.some(({ name }) => name === `keys/${layer}`),
    );
    if (layers.length === 0) return {};
    const { M, T } = geometryOf(this.config);
    const mask = new Float32Array((T - 1) * M).fill(HIDDEN, blocks * M);
    const part = (name: "k" | "v"): Values =>
      Object.fromEntries(layers.map((layer) => [layer, cache.read(layer)[name]]));
    return { keys: part("k"), values: part("v"), ...(this.shared ? { cacheMask: mask } : {}) };
  }

  /** A program with the weights it uses as constants, compiled when it is first asked for. */
  private program(
    name: string,
    inputs: Readonly<Record<string, unknown>>,
    run: (p: Parameters, inputs: never) => Record<string, unknown>,
  ): Promise<Program> {
    let program = this.programs.get(name);
    if (!program) {
      const { engine, session } = this.options;
      const specs = madformerSpecs(this.config);
      const state: Record<string, TensorSpec> = Object.fromEntries(
        Object.entries(specs).map(([key, { shape }]) => [key, spec(shape)]),
      );
      const traced = (params: Parameters, inputs: unknown) => ({
        outputs: run(params, inputs as never) as Record<string, tf.Tensor>,
      });
      program = compile(
        traced as never,
        { state, inputs: inputs as never },
        {
          name: `sampler: ${name}`,
          constants: this.weights,
          ...(engine ? { engine } : {}),
          ...(session ? { session } : {}),
        },
      );
      this.programs.set(name, program);
      program.catch(() => this.programs.delete(name)); // there is nothing to dispose
    }
    return program;
  }
}

/** Added to the score of a key that is not there. */
const HIDDEN = -1e30;

interface ContextResult {
  readonly condition?: Float32Array;
  readonly keys?: Record<string, Float32Array>;
  readonly values?: Record<string, Float32Array>;
}

interface DenoiseResult extends ContextResult {
  readonly noise: Float32Array;
  readonly next: Float32Array;
  readonly data: Float32Array<ArrayBuffer>;
}

function appendAll(
  cache: KeyValueCache,
  keys: Record<string, Float32Array> = {},
  values: Record<string, Float32Array> = {},
): void {
  for (const [layer, k] of Object.entries(keys)) cache.append(Number(layer), { k, v: values[layer] as Float32Array });
}

/** One block of every image: (N, T, size) -> (N, size) */
function gatherBlock(data: Float32Array, N: number, T: number, block: number, size: number): Float32Array {
  const result = new Float32Array(N * size);
  for (let n = 0; n < N; n++) result.set(data.subarray((n * T + block) * size, (n * T + block + 1) * size), n * size);
  return result;
}

/** The inverse of `gatherBlock`. */
function scatterBlock(to: Float32Array, data: Float32Array, N: number, T: number, block: number, size: number): void {
  for (let n = 0; n < N; n++) to.set(data.subarray(n * size, (n + 1) * size), (n * T + block) * size);
}

/** The array, `times` times over. */
function repeat(data: Float32Array, times: number): Float32Array {
  const result = new Float32Array(data.length * times);
  for (let i = 0; i < times; i++) result.set(data, i * data.length);
  return result;
}

import {
  compileInference,
  type EngineName,
  type InputValues,
  type Program,
  type SessionOptions,
  type TensorData,
  type Tensors,
  type TensorSpec,
  type Tree,
} from "@madformer/engine";
import type * as tf from "@tensorflow/tfjs-core";
import { geometryOf, type MadformerConfig } from "../config.js";
import { coefficientsOf, type SolverPlan, type SolverStep } from "../diffusion/solver.js";
import { assertFinite, inBatch, type NameOf } from "../finite.js";
import { hasText } from "../text/embedding.js";
import { textSeesNoise } from "../transformer/visibility.js";
import { madformerSpecs } from "../madformer.js";
import { parameterCount, type Parameters } from "../parameters.js";
import { disposeAll, KeyValueCache, type Append, type Held, type KeyValues } from "./key-value-cache.js";
import {
  appendProgram,
  cachedLayers,
  contextProgram,
  denoiseProgram,
  firstProgram,
  ropeInputs,
  shiftChannels,
  timeProgram,
  usesContext,
  type DenoiseSpecs,
  type SamplingShape,
  type TextInStep,
} from "./programs.js";
import { textProgram } from "./text-program.js";
import { arraysOf, checkTexts, Texts, type BatchTexts, type FirstState, type TextState } from "./texts.js";

/**
 * Copies of the weights that programs of one block number each may take, in bytes; beyond, one program serves all
 * blocks.
 */
const MAX_COPIES_BYTES = 2 ** 30;

export interface SamplerOptions {
  /** Images generated together, N. */
  readonly batchImages: number;
  readonly engine?: EngineName;
  readonly session?: SessionOptions;
  /**
   * `per-block`: programs of their own for each block number, over exactly the keys there are; `shared`: one for all,
   * with a mask over keys that are not there yet. Default: `per-block` while the copies of the weights stay below 1
   * GiB.
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
  /** (N, tokens) int32: the texts of the images, for a model that has them: see `classTokens`. */
  readonly text?: Int32Array;
  /** Is told of every step. */
  readonly onStep?: (report: StepReport) => void;
  /** Is told of every block's condition, (N, M, C): what its tokens are after the autoregressive layers. For tests. */
  readonly onCondition?: (block: number, condition: Float32Array) => void;
  /** Stops before the next step when it is aborted. */
  readonly signal?: AbortSignal;
  /** What an error calls an image. */
  readonly nameOf?: NameOf;
}

/**
 * Generates images block by block: a finished block is embedded as clean tokens, whose keys and values are kept; the
 * next block starts as noise and is denoised in the light of them.
 *
 * Source: arXiv:2506.07999, section 3.3; spec section 12; spec section 29.
 *
 * @example
 * await using sampler = await Sampler.create(config, weights, { batchImages: 4 });
 * const latents = await sampler.sample(dpmSolver(25), noise); // (N, T, P, channels)
 */
export class Sampler implements AsyncDisposable {
  private readonly programs = {
    text: programsOf(textProgram),
    time: programsOf(timeProgram),
    first: programsOf(firstProgram),
    context: programsOf(contextProgram),
    denoise: programsOf(denoiseProgram),
  };
  /** The cache's own, which are no part of the network. */
  private readonly appends = programsOf(appendProgram);
  private readonly texts: Texts | undefined;
  private disposed = false;

  private constructor(
    readonly config: MadformerConfig,
    private readonly weights: Readonly<Record<string, Float32Array>>,
    private readonly options: SamplerOptions,
    private readonly shared: boolean,
  ) {
    if (!hasText(config)) return;
    this.texts = new Texts(config, { text: (tokens) => this.textOf(tokens), first: (text) => this.firstOf(text) });
  }

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
   * @throws {RangeError} If the noise or the text has another size, or latents are not finite after a step.
   * @throws {Error} If the sampler was disposed.
   */
  async sample(
    plan: SolverPlan,
    noise: Float32Array,
    { text, onStep, onCondition, signal, nameOf = inBatch }: SampleOptions = {},
  ): Promise<Float32Array> {
    const { config } = this;
    const { batchImages: N } = this.options;
    const { T, P } = geometryOf(config);
    if (this.disposed) throw new Error("Cannot sample: the sampler was disposed");
    const size = P * config.latentChannels; // of a block
    if (noise.length !== N * T * size)
      throw new RangeError(
        `Cannot sample: the noise has ${noise.length} elements, expected (${N}, ${T}, ${P}, ${config.latentChannels})`,
      );
    const texts = hasText(config) ? await this.texts?.of(checkTexts(config, text, N)) : undefined;
    const times = await this.timesOf(plan.steps);
    const room = T - 1;
    using cache = this.emptyCache(room);
    const result = new Float32Array(noise.length);
    let before: Float32Array | undefined;

    for (let block = 0; block < T; block++) {
      const shape: SamplingShape = {
        config,
        batchImages: N,
        cacheBlocks: this.shared ? room : block,
        masked: this.shared,
      };
      const condition = await this.condition(shape, block, before, cache, times.clean, texts);
      if (condition && onCondition)
        onCondition(block, ArrayBuffer.isView(condition) ? condition : ((await condition.read()) as Float32Array));
      let textLeft: KeyValues | undefined; // what the text leaves that went with this block's first step
      let x = gatherBlock(noise, N, T, block, size);
      let previousData: Held = new Float32Array(x.length);
      try {
        for (const [step, coefficients] of plan.steps.entries()) {
          signal?.throwIfAborted();
          const kind = textInStep(config, block, step);
          const program = await this.denoise(shape, plan.clip, kind);
          const leaves = presentOutputs(program, ["keys", "values"]);
          const inputs: InputValues<DenoiseSpecs> = {
            x,
            previousData,
            coefficients: coefficientsOf(coefficients),
            down: times.down(step),
            up: times.up(step),
            ...(condition ? { condition } : {}),
            rope: ropeInputs(config, block),
            ...this.cacheInputs(program, cache, block),
            ...textInputs(program, textLeft ?? texts?.seen),
            ...(kind === "with-block" && texts?.words ? { words: texts.words } : {}),
          };
          const made = await program.run(inputs, { handles: ["data", ...leaves] });
          disposeAll(previousData);
          previousData = made.data;
          const { keys = {}, values = {} } = made;
          if (kind === "with-block") {
            if (!textLeft && !config.clearClean) textLeft = { keys, values };
          } else if (step === plan.steps.length - 1) await cache.add({ keys, values });
          else disposeAll(...Object.values(keys), ...Object.values(values));
          const next = made.next as Float32Array;
          onStep?.({ block, step, noise: made.noise as Float32Array, next });
          assertFinite(next, N, (image) => {
            const place = `step ${step + 1} of ${plan.steps.length} of block ${block + 1} of ${T}`;
            return `Cannot sample ${nameOf(image)}: its latents are not finite after ${place}`;
          });
          x = next;
        }
      } finally {
        disposeAll(previousData, ...(condition ? [condition] : []));
        if (textLeft) disposeAll(...Object.values(textLeft.keys), ...Object.values(textLeft.values));
      }
      scatterBlock(result, x, N, T, block, size);
      before = x;
    }
    return result;
  }

  /**
   * The programs that sampling has compiled so far, by name: to save them with `saveProgram`. With `programs: "shared"`
   * they are `text`, `time <timesteps>`, `first`, `context` and `denoise`, as far as the network has them; `denoise
   * clip` for a plan that clips; `denoise-with-text` and `denoise-without-text` where the text is seen otherwise.
   * Borrowed: they are freed with the sampler.
   */
  async compiled(): Promise<ReadonlyMap<string, Program>> {
    const all = new Map<string, Program>();
    for (const kind of Object.values(this.programs))
      for (const [name, program] of await kind.compiled()) all.set(name, program);
    return all;
  }

  /** Frees all programs, once their runs have ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.disposed = true;
    for (const kind of [...Object.values(this.programs), this.appends]) await kind[Symbol.asyncDispose]();
  }

  /** What the plan's timesteps add in the U-Net, and what the clean blocks' timestep adds. */
  private async timesOf(steps: readonly SolverStep[]) {
    const { config } = this;
    const last = steps.at(-1)?.timestep ?? 0;
    const clean = config.quirks.cleanTimestep === "zero" ? 0 : last;
    const t = Float32Array.from([...steps.map(({ timestep }) => timestep), clean]);
    const program = await this.programs.time.get(`time ${t.length}`, timeProgram(config, t.length), this.settings());
    const { down, up } = await program.run({ t });
    const row = (packed: TensorData, way: "down" | "up", step: number): Float32Array => {
      const channels = shiftChannels(config, way);
      return (packed as Float32Array).slice(step * channels, (step + 1) * channels);
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

  /** What a text leaves for the images that have it. */
  private async textOf(tokens: Int32Array): Promise<TextState> {
    const { config } = this;
    if (!hasText(config)) throw new TypeError("Cannot run a text: the model has none");
    const program = await this.programs.text.get("text", textProgram(config), this.settings());
    const { keys, values, words } = await program.run({ tokens });
    return { keys: arraysOf(keys), values: arraysOf(values), words: words as Float32Array | undefined };
  }

  /** What the first block begins with, of an image without a text or with this one. */
  private async firstOf(text?: TextState): Promise<FirstState> {
    const { config } = this;
    const program = await this.programs.first.get("first", firstProgram(config), this.settings());
    const boi = this.weights["boi_block"] as Float32Array;
    const inputs = { boi, rope: ropeInputs(config, 0), ...textInputs(program, text) };
    const { condition, keys, values } = await program.run(inputs);
    return { condition: condition as Float32Array, keys: arraysOf(keys), values: arraysOf(values) };
  }

  /**
   * The condition of a block, if the network is conditioned; the block before leaves its keys and values in the cache.
   */
  private async condition(
    shape: SamplingShape,
    block: number,
    before: Float32Array | undefined,
    cache: KeyValueCache,
    shifts: Float32Array,
    texts: BatchTexts | undefined,
  ): Promise<Held | undefined> {
    const { config, batchImages: N } = shape;
    if (before === undefined) {
      if (config.clearCond) return undefined;
      const first = await (texts ? texts.first() : this.firstOf());
      const { condition, keys, values } = texts ? first : repeated(first, N);
      await cache.add({ keys, values });
      return condition;
    }
    if (!usesContext(config)) return undefined;
    // The cache holds what came before the block that is embedded now: one block less.
    const finished = config.clearClean ? block : block - 1;
    const context = contextProgram(this.shared ? shape : { ...shape, cacheBlocks: finished });
    const program = await this.programs.context.get(
      this.shared ? "context" : `context ${finished}`,
      context,
      this.settings(),
    );
    const inputs = {
      latents: before,
      shifts,
      clean: ropeInputs(config, block - 1),
      noised: ropeInputs(config, block),
      ...this.cacheInputs(program, cache, finished),
      ...textInputs(program, texts?.seen),
    };
    const handles = presentOutputs(program, ["condition", "keys", "values"]);
    const { condition, keys = {}, values = {} } = await program.run(inputs, { handles });
    await cache.add({ keys, values });
    return condition;
  }

  private denoise({ config, ...shape }: SamplingShape, clip: boolean, text: TextInStep) {
    const name = [DENOISE[text], ...(this.shared ? [] : [shape.cacheBlocks]), ...(clip ? ["clip"] : [])].join(" ");
    return this.programs.denoise.get(name, denoiseProgram({ config, ...shape }, clip, text), this.settings());
  }

  /** A cache without blocks. Where programs are shared it has all its room from the start. */
  private emptyCache(room: number): KeyValueCache {
    const { config } = this;
    const { batchImages: N } = this.options;
    const { M, D } = geometryOf(config);
    const shape = { config, batchImages: N, cacheBlocks: room, masked: this.shared };
    const append: Append = async (before, own, blocks) => {
      if (blocks === 0 && !this.shared) return own;
      const layers = Object.keys(own.keys);
      const definition = appendProgram(shape, layers.map(Number), blocks);
      const name = `append ${this.shared ? "" : blocks} ${layers.join(",")}`;
      const program = await this.appends.get(name, definition, { ...this.settings(), weights: {} });
      const place = this.shared ? { place: new Uint8Array(room * M).fill(1, blocks * M, (blocks + 1) * M) } : {};
      return await program.run({ before, own, ...place }, { handles: ["keys", "values"] });
    };
    return new KeyValueCache(append, this.shared ? new Float32Array(N * config.heads * room * M * D) : undefined);
  }

  /** The cache as inputs of a program, where it takes it. */
  private cacheInputs(program: Pick<Program, "inputs">, cache: KeyValueCache, blocks: number) {
    const layers = cachedLayers(this.config)
      .map(String)
      .filter((layer) => program.inputs.some(({ name }) => name === `keys/${layer}`));
    if (layers.length === 0) return {};
    const { M, T } = geometryOf(this.config);
    const mask = new Float32Array((T - 1) * M).fill(HIDDEN, blocks * M);
    return { ...cache.read(layers), ...(this.shared ? { cacheMask: mask } : {}) };
  }

  /** What all programs are compiled with: the weights are their constants. */
  private settings(): Settings {
    const { engine, session } = this.options;
    const { config, weights } = this;
    return { config, weights, ...(engine ? { engine } : {}), ...(session ? { session } : {}) };
  }
}

interface Settings {
  readonly config: MadformerConfig;
  readonly weights: Readonly<Record<string, Float32Array>>;
  readonly engine?: EngineName;
  readonly session?: SessionOptions;
}

/** A program of the sampler: shapes of its inputs, and its function. */
interface Definition<Inputs, Outputs> {
  readonly inputs: Inputs;
  readonly run: (p: Parameters, inputs: Tensors<Inputs>) => Outputs;
}

/** Compiled programs of one kind, by name. */
class Programs<Inputs extends Tree<TensorSpec>, Outputs extends Tree<tf.Tensor>> implements AsyncDisposable {
  private readonly programs = new Map<string, Promise<Program<Inputs, Outputs>>>();

  /** A program, compiled when it is first asked for. */
  get(name: string, { inputs, run }: Definition<Inputs, Outputs>, { config, weights, ...options }: Settings) {
    let program = this.programs.get(name);
    if (!program) {
      const known = Object.entries(madformerSpecs(config)).flatMap(([key, { shape }]) => {
        const data = weights[key];
        return data ? [[key, { shape, data }] as const] : [];
      });
      program = compileInference(run, Object.fromEntries(known), inputs, { name: `sampler: ${name}`, ...options });
      this.programs.set(name, program);
      program.catch(() => this.programs.delete(name)); // there is nothing to dispose
    }
    return program;
  }

  /** Those that there are. */
  async compiled(): Promise<[string, Program<Inputs, Outputs>][]> {
    return Promise.all([...this.programs].map(async ([name, program]) => [name, await program] as const));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const program of this.programs.values()) await (await program).dispose();
    this.programs.clear();
  }
}

/** Room for programs as a function makes them. */
function programsOf<Inputs extends Tree<TensorSpec>, Outputs extends Tree<tf.Tensor>>(
  _make: (...args: never[]) => Definition<Inputs, Outputs>,
) {
  return new Programs<Inputs, Outputs>();
}

/** Those of some outputs that a program has: a branch without leaves is none. */
function presentOutputs<Name extends string>(program: Pick<Program, "outputs">, names: readonly Name[]): Name[] {
  return names.filter((wanted) => program.outputs.some(({ name }) => name === wanted || name.startsWith(`${wanted}/`)));
}

/** What programs of a step are called, by what they see of the text. */
const DENOISE: Readonly<Record<TextInStep, string>> = {
  seen: "denoise",
  none: "denoise-without-text",
  "with-block": "denoise-with-text",
};

/** What a step of the solver sees of the text. spec section 29. */
function textInStep(config: MadformerConfig, block: number, step: number): TextInStep {
  if (!textSeesNoise(config, config.arLayers)) return "seen";
  if (block > 0) return "none";
  return step === 0 || config.clearClean ? "with-block" : "seen";
}

/** Keys and values of the text as inputs of a program, in the layers in which it takes them. */
function textInputs(program: Pick<Program, "inputs">, seen: KeyValues | undefined): { text?: KeyValues } {
  if (!seen) return {};
  const layers = Object.keys(seen.keys).filter((layer) =>
    program.inputs.some(({ name }) => name === `text/keys/${layer}`),
  );
  if (layers.length === 0) return {};
  const part = (held: Readonly<Record<string, Held>>): Record<string, Held> =>
    Object.fromEntries(layers.map((layer) => [layer, held[layer]!]));
  return { text: { keys: part(seen.keys), values: part(seen.values) } };
}

/** Added to the score of a key that is not there. */
const HIDDEN = -1e30;

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

/** What is the same for every image, of all of them. */
function repeated({ condition, keys, values }: FirstState, N: number): FirstState {
  const part = (arrays: Readonly<Record<string, Float32Array>>): Record<string, Float32Array> =>
    Object.fromEntries(Object.entries(arrays).map(([layer, data]) => [layer, repeat(data, N)]));
  return { condition: repeat(condition, N), keys: part(keys), values: part(values) };
}

/** The array, `times` times over. */
function repeat(data: Float32Array, times: number): Float32Array {
  const result = new Float32Array(data.length * times);
  for (let i = 0; i < times; i++) result.set(data, i * data.length);
  return result;
}

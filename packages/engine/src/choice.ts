import { AsyncLocalStorage } from "node:async_hooks";
import type { PrecisionName } from "./backend.js";
import { BACKENDS, ENGINES, type EngineName } from "./engines.js";

/**
 * What programs are compiled for. All of it may change what comes out, threads in last bits of sums that they share.
 */
export interface EngineChoice {
  readonly engine: EngineName;
  readonly precision: PrecisionName;
  /** Threads of one operation. None said: what the engine takes by itself. */
  readonly threads?: number;
}

/** A choice, and which runtime it gets. */
export interface StageChoice extends EngineChoice {
  /** Version and digest, where the lock file does not fix them: results of two versions are not the same. */
  readonly version?: string;
}

/** A part of a choice, as somebody wrote it. */
export interface EngineWords {
  readonly engine?: string | undefined;
  readonly precision?: string | undefined;
  readonly threads?: number | undefined;
}

const told = new AsyncLocalStorage<EngineChoice>();
const MAX_THREADS = 1024;
const DEFAULT_ENGINE = "onnx";

/**
 * Completes a choice. What the words leave out has what `computing.within` was given around this call, else what
 * `MADFORMER_ENGINE`, `MADFORMER_PRECISION` and `MADFORMER_THREADS` say, else `onnx` in the engine's usual precision.
 * The only place that decides.
 *
 * @throws {RangeError} If there is no such engine, it has no such precision, or the threads are no number of them:
 *   names those that there are.
 */
export function chooseEngine(words: EngineWords = {}): EngineChoice {
  const outer = told.getStore();
  const engine = oneOf("engine", ENGINES, words.engine, outer?.engine, variable("ENGINE")) ?? DEFAULT_ENGINE;
  const same = outer?.engine === engine ? outer.precision : undefined;
  const { precisions } = BACKENDS[engine];
  const known = outer === undefined ? variable("PRECISION") : undefined;
  const precision = oneOf("precision", precisions, words.precision, same, known, engine) ?? precisions[0];
  const threads = threadsOf(words.threads) ?? outer?.threads ?? threadsOf(variable("THREADS"), "MADFORMER_THREADS is");
  return { engine, precision, ...(threads === undefined ? {} : { threads }) };
}

/** How stages choose what they compute with: `Computing` of `@madformer/stage`. */
export const computing = {
  /** The precisions of each engine, the usual one first. */
  engines: Object.fromEntries<readonly PrecisionName[]>(ENGINES.map((name) => [name, BACKENDS[name].precisions])),
  choose: (words: EngineWords): StageChoice => {
    const choice = chooseEngine(words);
    const backend = BACKENDS[choice.engine];
    const precision = backend.granted?.(choice.precision) ?? choice.precision;
    const version = backend.runtime?.().version;
    return { ...choice, precision, ...(version === undefined ? {} : { version }) };
  },
  /** The files that decide which version that is. None of a choice that there is not. */
  places: (words: EngineWords): readonly string[] => {
    const engine = ENGINES.find((name) => name === engineWord(words));
    return (engine && BACKENDS[engine].runtime?.().places) ?? [];
  },
  /**
   * Runs something, and compiles all programs in it for a choice, unless they say otherwise themselves.
   *
   * @throws {Error} If another version was installed meanwhile: nobody knows which of them computed what.
   */
  within: async <T>(choice: StageChoice, work: () => Promise<T>): Promise<T> => {
    const result = await told.run(choice, work);
    const version = BACKENDS[choice.engine].runtime?.().version;
    if (version === choice.version) return result;
    throw new Error(
      `the engine "${choice.engine}" was ${choice.version ?? "not installed"} and is ${version ?? "gone"} now: ` +
        "it changed while it was in use",
    );
  },
};

const engineWord = (words: EngineWords): string =>
  words.engine ?? told.getStore()?.engine ?? variable("ENGINE") ?? DEFAULT_ENGINE;
const variable = (name: string): string | undefined => process.env[`MADFORMER_${name}`] || undefined;

/** The first that is said, if it is one of those that there are. */
function oneOf<Name extends string>(
  what: "engine" | "precision",
  names: readonly Name[],
  word: string | undefined,
  outer: Name | undefined,
  variable: string | undefined,
  engine?: EngineName,
): Name | undefined {
  const wanted = word ?? outer ?? variable;
  const found = names.find((name) => name === wanted);
  if (wanted === undefined || found !== undefined) return found;
  const source = word === undefined ? `MADFORMER_${what.toUpperCase()} is` : `the ${what} is`;
  const listed = names.map((name) => `"${name}"`).join(", ");
  const expected = engine === undefined ? `one of ${listed}` : `what the engine "${engine}" has: ${listed}`;
  throw new RangeError(`${source} ${JSON.stringify(wanted)}, expected ${expected}`);
}

function threadsOf(value: number | string | undefined, source = "threads are"): number | undefined {
  if (value === undefined) return undefined;
  const threads = typeof value === "string" && !/^\d{1,9}$/.test(value) ? NaN : Number(value);
  if (Number.isInteger(threads) && threads >= 1 && threads <= MAX_THREADS) return threads;
  throw new RangeError(`${source} ${JSON.stringify(value)}, expected a whole number from 1 to ${MAX_THREADS}`);
}

import type { ComputeWords } from "../plain/computing.mjs";
import { ConfigError } from "./config.js";
import { lookOutside, type OutsideState } from "./outside.js";
import type { Stage } from "./stage.js";

export { askedOf, VARIABLES, type ComputeWords } from "../plain/computing.mjs";

/**
 * What a stage computes with: part of its key. So are threads, where somebody says how many, because sums that they
 * share are added in another order (measured: weights of `faces-net`, in their last bits). Where nobody does, there are
 * as many as the machine has cores, and a key names no machine.
 */
export interface Compute {
  readonly engine: string;
  readonly precision: string;
  /** Which version of the engine, of one that npm's lock file does not fix; the program's digest covers the others. */
  readonly version?: string | undefined;
  readonly threads?: number | undefined;
}

/** How a stage that computes chooses with what: `computing` of `@madformer/engine`. This package knows no engine. */
export interface Computing {
  /** The precisions of each engine, the usual one first. */
  readonly engines: Readonly<Record<string, readonly string[]>>;
  /**
   * Completes what was asked for, by the environment and by defaults.
   *
   * @throws {RangeError} If there is no such thing: names those that there are.
   */
  choose(words: ComputeWords): Compute;
  /** Files that decide which version of its engine a choice gets, whether or not they are there. Never throws. */
  places?(words: ComputeWords): readonly string[];
  /** Runs something, and computes all of it with what was chosen. */
  within<T>(compute: Compute, work: () => Promise<T>): Promise<T>;
}

/**
 * What a stage computes with.
 *
 * @param words What was asked for; the environment stands behind it.
 * @param where What messages call the place where it was.
 * @returns Undefined if the stage computes nothing.
 * @throws {ConfigError} If there is no such engine or precision, or the stage takes none.
 */
export function computeOf(
  { name, computing }: Pick<Stage, "name" | "computing">,
  words: ComputeWords = {},
  where = "its options",
): Compute | undefined {
  if (computing === undefined) {
    const word = Object.entries(words).find(([, value]) => value !== undefined)?.[0];
    if (word === undefined) return undefined;
    throw new ConfigError(
      `Stage "${name}" cannot run with ${where}: "${word}" has no effect, it computes with no engine`,
    );
  }
  try {
    return computing.choose(words);
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw new ConfigError(`Stage "${name}" cannot run with ${where}: ${cause.message}`, { cause });
  }
}

/**
 * The files that decide which version of its engine a stage gets, as they are. They are looked at before `computeOf`
 * asks for the version, so that one that changes in between is seen to have changed.
 */
export async function lookEngine(
  { computing }: Pick<Stage, "computing">,
  words: ComputeWords,
): Promise<OutsideState[]> {
  return lookOutside((computing?.places?.(words) ?? []).map((path) => ({ path, by: "content" })));
}

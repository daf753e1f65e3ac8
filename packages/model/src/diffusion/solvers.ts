import { ddim } from "./ddim.js";
import { dpmSolver } from "./dpm-solver.js";
import type { SolverPlan } from "./solver.js";

/** What a solver may be told besides its number of steps. */
export interface SolverOptions {
  /** Clip predicted data to [-1, 1], where the solver can: then its plan says `clip`. */
  readonly clip: boolean;
}

/**
 * All solvers, by the names that configs have for them: sampling, the grids of training and exported programs take any.
 * A new one is a file beside this one and a line here.
 */
const SOLVERS = {
  "dpm-solver++": dpmSolver,
  ddim,
} as const satisfies Record<string, (steps: number, options: SolverOptions) => SolverPlan>;
export type SolverName = keyof typeof SOLVERS;

/** Names of the solvers; the first is the default. */
export const SOLVER_NAMES = Object.keys(SOLVERS) as [SolverName, ...SolverName[]];

/**
 * The steps of a solver by its name.
 *
 * @throws {RangeError} If there are no steps, or more than there are timesteps.
 */
export function solverPlan(solver: SolverName, steps: number, options: SolverOptions = { clip: false }): SolverPlan {
  return SOLVERS[solver](steps, options);
}

import { ddim } from "./ddim.js";
import { dpmSolver } from "./dpm-solver.js";
import { SOLVER_NAMES, solverPlan } from "./solvers.js";

test("solverPlan() gives the plans of all names, and clips where a solver can", () => {
  expect(SOLVER_NAMES).toEqual(["dpm-solver++", "ddim"]);
  expect(solverPlan("dpm-solver++", 4, { clip: true })).toEqual(dpmSolver(4));
  expect(solverPlan("ddim", 4)).toEqual(ddim(4, { clip: false }));
  expect(solverPlan("ddim", 4, { clip: true })).toEqual(ddim(4));
  for (const name of SOLVER_NAMES) expect(() => solverPlan(name, 0)).toThrow(/Cannot plan .* with 0 steps/);
});

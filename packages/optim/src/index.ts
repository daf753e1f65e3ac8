/**
 * What all training has in common: a loss of several terms, its gradients, clipping, AdamW, learning rates, moving
 * averages, gradients added up over several runs, and the loop around them. It knows no network and no files.
 *
 * Reading order: `loss.ts` (terms and their sum), `gradients.ts`, `clip.ts`, `adamw.ts`, `step.ts` (all of that one
 * after another), `accumulate.ts` (a step of several runs), `trainer.ts` (the programs of a step and their state),
 * `learning-rate.ts` and `ema.ts` (what changes from step to step), `loop.ts`.
 *
 * Letters: p parameter, g gradient, m and v AdamW's moments, e moving average, d its decay, c factor that clips,
 * k number of a step, λ weight of a term.
 */
export { weightedLoss, type Losses, type LossTerm } from "./loss.js";
export { lossGradients, type Gradients, type TensorsByName } from "./gradients.js";
export { OptimizerConfig, scalarOf, STEP_SCALARS, stepScalars } from "./adamw.js";
export { SCALARS_SPEC, stateSpecs, trainStep, update, type ParameterShapes, type TrainingState } from "./step.js";
export { addGradients } from "./accumulate.js";
export { Trainer, type FirstState, type Measures, type Training, type Weights } from "./trainer.js";
export { cosineFactor, learningRateFactor, ScheduleConfig, warmupFactor, type WarmupStart } from "./learning-rate.js";
export { emaDecay, EmaConfig } from "./ema.js";
export { trainSteps, type TrainingLoop } from "./loop.js";

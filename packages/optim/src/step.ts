import { spec, type Shape, type TensorSpec } from "@madformer/engine";
import * as tf from "@tensorflow/tfjs-core";
import { adamw, STEP_SCALARS, type OptimizerConfig } from "./adamw.js";
import { clipFactor, globalNorm } from "./clip.js";
import { lossGradients, present, type Gradients, type TensorsByName } from "./gradients.js";
import type { Losses } from "./loss.js";

/** State of training, each part by the parameters' names. */
export type TrainingState = {
  readonly params: TensorsByName;
  /** AdamW's first moments. */
  readonly m: TensorsByName;
  /** AdamW's second moments. */
  readonly v: TensorsByName;
  /** The moving average. */
  readonly ema: TensorsByName;
};

/** Shapes of parameters by name. */
export type ParameterShapes = Readonly<Record<string, { readonly shape: Shape }>>;

/** Shapes of the state of training, for `compile`. */
export function stateSpecs(parameters: ParameterShapes) {
  const specs: Record<string, TensorSpec> = Object.fromEntries(
    Object.entries(parameters).map(([name, { shape }]) => [name, spec(shape)]),
  );
  return { params: specs, m: specs, v: specs, ema: specs };
}

/** Shape of what `stepScalars` gives, for `compile`. */
export const SCALARS_SPEC = spec([STEP_SCALARS.length] as const);

/**
 * One training step as a pure function: losses and gradients are taken, gradients clipped by their norm, then AdamW and
 * the moving average, for all parameters.
 *
 * Source: spec section 9, with float32 throughout.
 *
 * @param lossOf As `lossGradients` takes it.
 * @param scalars (5) float32, as `stepScalars` gives them.
 * @returns The next state, and as outputs the losses and `gradNorm`, the norm before clipping.
 */
export function trainStep<Term extends string>(
  state: TrainingState,
  lossOf: (params: TensorsByName) => Losses<Term>,
  scalars: tf.Tensor1D,
  optimizer: OptimizerConfig,
) {
  const { losses, gradients } = lossGradients(state.params, lossOf);
  const { next, gradNorm } = clippedUpdate(state, gradients, scalars, optimizer);
  return { state: next, outputs: { ...losses, gradNorm } };
}

/**
 * What follows the gradients in a training step: clipping by their norm, AdamW and the moving average.
 *
 * @param scalars (5) float32, as `stepScalars` gives them.
 * @returns The next state, and the norm before clipping.
 */
export function clippedUpdate(
  state: TrainingState,
  gradients: Gradients,
  scalars: tf.Tensor1D,
  optimizer: OptimizerConfig,
) {
  return tf.tidy("optimizer", () => {
    const gradNorm = globalNorm(present(gradients));
    const clip = optimizer.maxGradNorm > 0 ? clipFactor(gradNorm, optimizer.maxGradNorm) : 1;
    return { next: update(state, gradients, clip, scalars, optimizer), gradNorm };
  });
}

/**
 * AdamW for all parameters, and the moving average where the state has one.
 *
 * @param clip What all gradients are multiplied with; null where they are never clipped.
 * @param scalars (5) float32, as `stepScalars` gives them.
 * @returns The parts that the state has, new.
 */
export function update(state: TrainingState, ...how: How): TrainingState;
export function update(state: Omit<TrainingState, "ema">, ...how: How): Omit<TrainingState, "ema">;
export function update(
  { params, m, v, ema }: Omit<TrainingState, "ema"> & Partial<TrainingState>,
  ...[gradients, clip, scalars, optimizer]: How
): Omit<TrainingState, "ema"> & Partial<TrainingState> {
  const next: Record<keyof TrainingState, Record<string, tf.Tensor>> = { params: {}, m: {}, v: {}, ema: {} };
  for (const [name, gradient] of Object.entries(gradients)) {
    const of = (part: TensorsByName): tf.Tensor => part[name] as tf.Tensor;
    const before = { value: of(params), m: of(m), v: of(v), ema: ema && of(ema) };
    const after = adamw(before, gradient, clip, scalars, optimizer);
    next.params[name] = after.value;
    next.m[name] = after.m;
    next.v[name] = after.v;
    if (after.ema) next.ema[name] = after.ema;
  }
  const { ema: average, ...plain } = next;
  return ema ? { ...plain, ema: average } : plain;
}

type How = [
  gradients: Gradients,
  clip: tf.Scalar | number | null,
  scalars: tf.Tensor1D,
  optimizer: Pick<OptimizerConfig, "beta1" | "beta2" | "eps">,
];

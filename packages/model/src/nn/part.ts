import { recomputed } from "@madformer/engine";
import type { Scope } from "../parameters.js";

/**
 * What of a network is computed a second time for the gradients, instead of being kept until then: nothing, each layer
 * of the transformer, or these and each residual block of the U-Nets. It changes no number.
 */
export const RECOMPUTE = ["none", "layers", "all"] as const;
export type Recompute = (typeof RECOMPUTE)[number];

/**
 * A part of a network: a function of its parameters and inputs.
 *
 * @param again Whether its values are computed again for the gradients: of the part, its inputs alone are kept.
 * @param constants A tree of tensors that it takes besides, without a gradient.
 */
export function part<In extends object, Out extends object, Constants extends object>(
  again: boolean,
  p: Scope,
  inputs: In,
  constants: Constants,
  compute: (p: Scope, inputs: In, constants: Constants) => Out,
): Out {
  if (!again) return compute(p, inputs, constants);
  return recomputed(
    (inputs: In, use, constants: Constants) => compute(p.through(use), inputs, constants),
    inputs,
    constants,
  );
}

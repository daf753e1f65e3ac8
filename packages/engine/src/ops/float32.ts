import * as tf from "@tensorflow/tfjs-core";

/** Scope of what keeps float32. */
const NAME = "float32";

/**
 * Computes something whose products keep float32 operands, also in a program that is compiled for less precision. For
 * gradients that tfjs composes it says nothing: those of `fn` are not made here.
 *
 * @returns What `fn` returns.
 */
export function inFloat32<T extends tf.Tensor>(fn: () => T): T {
  return tf.tidy(NAME, fn);
}

/** Whether a node of this scope was made within `inFloat32`. */
export function isInFloat32(scope: string): boolean {
  return scope.split("/").includes(NAME);
}

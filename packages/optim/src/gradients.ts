import * as tf from "@tensorflow/tfjs-core";

/** Tensors by name: parameters, their gradients, their moments. */
export type TensorsByName = Readonly<Record<string, tf.Tensor>>;

/** Gradients by parameter; null where the loss does not depend on one: its gradient is exactly 0. */
export type Gradients = Readonly<Record<string, tf.Tensor | null>>;

/**
 * A loss with its gradients for all parameters.
 *
 * As `tf.valueAndGrads`, except that a parameter on which the loss does not depend is no error, and that whatever is
 * made beside the loss can be kept.
 *
 * @param params Borrowed.
 * @param lossOf Makes `loss`, which is minimized, and what is wanted besides: terms, or what was seen on the way.
 * @returns Everything that `lossOf` made, and the gradients; new tensors. No gradient flows through the former.
 */
export function lossGradients<Made extends TensorsByName & { readonly loss: tf.Scalar }>(
  params: TensorsByName,
  lossOf: (params: TensorsByName) => Made,
): { readonly losses: Made; readonly gradients: Gradients } {
  const names = Object.keys(params);
  const kept: Record<string, tf.Tensor> = {};
  const { value, grads } = tf.engine().gradients(
    () => {
      const { loss, ...rest } = lossOf(params);
      // What the function makes besides its result is freed when it returns.
      for (const [name, tensor] of Object.entries<tf.Tensor>(rest)) kept[name] = tf.keep(tensor);
      return tf.clone(loss); // it may be one of the others
    },
    names.map((name) => params[name] as tf.Tensor),
    null as unknown as tf.Scalar, // the gradient starts as 1
    true,
  );
  const rest = Object.entries(kept).map(([name, tensor]) => [name, tf.clone(tensor)] as const);
  tf.dispose(kept);
  return {
    losses: { loss: value, ...Object.fromEntries(rest) } as unknown as Made,
    gradients: Object.fromEntries(names.map((name, i) => [name, grads[i] ?? null])),
  };
}

/** Those that there are. */
export function present(gradients: Gradients): tf.Tensor[] {
  return Object.values(gradients).filter((gradient) => gradient !== null);
}

import type * as tf from "@tensorflow/tfjs-core";

/** A tensor whose shape is not what a function needs. */
export class ShapeError extends RangeError {
  override readonly name = "ShapeError";
}

/**
 * The sizes of a tensor's axes, by name. A number in the place of a name must be that axis' size.
 *
 * @throws {ShapeError} If the rank or a given size differs.
 *
 * @example
 * const { N, C } = dims(x, ["N", 4, 4, "C"], "unet: x");
 */
export function dims<const Axes extends readonly (string | number)[]>(
  x: tf.Tensor,
  axes: Axes,
  what: string,
): Readonly<Record<Extract<Axes[number], string>, number>> {
  const fits =
    x.shape.length === axes.length && axes.every((axis, i) => typeof axis === "string" || axis === x.shape[i]);
  if (!fits) throw new ShapeError(`${what} has shape (${x.shape.join(", ")}), expected (${axes.join(", ")})`);
  const named = axes.flatMap((axis, i) => (typeof axis === "string" ? [[axis, x.shape[i]]] : []));
  return Object.fromEntries(named) as never;
}

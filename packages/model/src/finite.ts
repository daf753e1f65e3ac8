import { firstNonFinite } from "@madformer/engine";

/** What messages call an image of a batch, by its position there: `seed 17`. */
export type NameOf = (image: number) => string;

export const inBatch: NameOf = (image) => `image ${image} of the batch`;

/**
 * Sees that what was computed for the images of a batch is finite.
 *
 * @param values (images, ...) float32. Borrowed.
 * @param message What could not be done and found, of the first image that is not:
 *   `Cannot decode seed 17: its pixels are not finite`.
 * @throws {RangeError} If one is NaN or infinite: with the message, where, and how many.
 */
export function assertFinite(values: Float32Array, images: number, message: (image: number) => string): void {
  const at = firstNonFinite(values);
  if (at < 0) return;
  const size = values.length / images;
  const image = Math.floor(at / size);
  const count = values
    .subarray(image * size, (image + 1) * size)
    .reduce((count, value) => count + Number(!Number.isFinite(value)), 0);
  throw new RangeError(
    `${message(image)}: ${count} of ${size} elements, the first is ${values[at]} at index ${at - image * size}`,
  );
}

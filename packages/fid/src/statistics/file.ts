import { notFinite, openNpz, toFloat64, writeNpz } from "@madformer/artifacts";
import type { Gaussian } from "../frechet.js";

/**
 * Reads statistics as pytorch-fid stores them: a `.npz` file with `mu` (dims) and `sigma` (dims, dims).
 *
 * @throws {FormatError} If the file is damaged.
 * @throws {RangeError} If an array is missing, has another shape or is not finite.
 */
export async function readStatistics(path: string): Promise<Gaussian> {
  await using file = await openNpz(path);
  for (const name of ["mu", "sigma"])
    if (!file.names.includes(name))
      throw new RangeError(
        `Cannot read statistics from "${path}": it holds ${file.names.join(", ") || "nothing"}, expected mu and sigma`,
      );
  const [dims = 0] = file.array("mu").shape;
  const array = async (name: string, expected: readonly number[]): Promise<Float64Array> => {
    const found = file.array(name);
    if (found.shape.length !== expected.length || found.shape.some((size, axis) => size !== expected[axis]))
      throw new RangeError(
        `Cannot read statistics from "${path}": ${name} has shape (${found.shape.join(", ")}), expected (${expected.join(", ")})`,
      );
    const values = toFloat64(await file.read(name));
    const bad = notFinite(values);
    if (bad) throw new RangeError(`Cannot read statistics from "${path}": ${name} is not finite: ${bad}`);
    return values;
  };
  return { mu: await array("mu", [dims]), sigma: await array("sigma", [dims, dims]) };
}

/**
 * Writes statistics as pytorch-fid reads them, compressed. The file is there completely or not at all.
 *
 * @throws {RangeError} If sigma is not of mu's size, or one of them is not finite.
 */
export async function writeStatistics(path: string, { mu, sigma }: Gaussian): Promise<void> {
  const dims = mu.length;
  if (sigma.length !== dims * dims)
    throw new RangeError(
      `Cannot write statistics to "${path}": ${dims} means, but ${sigma.length} covariances, expected ${dims * dims}`,
    );
  for (const [name, values] of Object.entries({ mu, sigma })) {
    const bad = notFinite(values);
    if (bad) throw new RangeError(`Cannot write statistics to "${path}": ${name} is not finite: ${bad}`);
  }
  await writeNpz(path, { mu: { shape: [dims], data: mu }, sigma: { shape: [dims, dims], data: sigma } });
}

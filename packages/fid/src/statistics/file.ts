import { notFinite, openNpz, toFloat64, writeNpz } from "@madformer/artifacts";
import type { Gaussian } from "../frechet.js";

/** What a file of statistics holds: of features, and of spatial ones if somebody computed them. */
export interface StatisticsFile extends Gaussian {
  readonly spatial?: Gaussian;
}

/** Names of the arrays, as pytorch-fid has them, and ADM's suite those of spatial features. */
const NAMES = { features: ["mu", "sigma"], spatial: ["mu_s", "sigma_s"] } as const;

/**
 * Reads statistics as pytorch-fid and ADM's suite store them: a `.npz` file with `mu` (dims) and `sigma` (dims, dims),
 * and maybe `mu_s` and `sigma_s`.
 *
 * @throws {FormatError} If the file is damaged.
 * @throws {RangeError} If an array is missing, has another shape or is not finite.
 */
export async function readStatistics(path: string): Promise<StatisticsFile> {
  await using file = await openNpz(path);
  for (const name of NAMES.features)
    if (!file.names.includes(name))
      throw new RangeError(
        `Cannot read statistics from "${path}": it holds ${file.names.join(", ") || "nothing"}, expected mu and sigma`,
      );
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
  const gaussian = async ([mu, sigma]: readonly [string, string]): Promise<Gaussian> => {
    const [dims = 0] = file.array(mu).shape;
    return { mu: await array(mu, [dims]), sigma: await array(sigma, [dims, dims]) };
  };
  const hasSpatial = NAMES.spatial.every((name) => file.names.includes(name));
  return {
    ...(await gaussian(NAMES.features)),
    ...(hasSpatial ? { spatial: await gaussian(NAMES.spatial) } : {}),
  };
}

/**
 * Writes statistics as pytorch-fid and ADM's suite read them, compressed. The file is there completely or not at all.
 *
 * @throws {RangeError} If a sigma is not of its mu's size, or one of them is not finite.
 */
export async function writeStatistics(path: string, { spatial, ...features }: StatisticsFile): Promise<void> {
  const arrays: Record<string, { shape: number[]; data: Float64Array }> = {};
  for (const [kind, gaussian] of Object.entries({ features, ...(spatial ? { spatial } : {}) })) {
    const [mu, sigma] = NAMES[kind as keyof typeof NAMES];
    const dims = gaussian.mu.length;
    if (gaussian.sigma.length !== dims * dims)
      throw new RangeError(
        `Cannot write statistics to "${path}": ${dims} means, but ${gaussian.sigma.length} covariances, expected ${dims * dims}`,
      );
    arrays[mu] = { shape: [dims], data: gaussian.mu };
    arrays[sigma] = { shape: [dims, dims], data: gaussian.sigma };
  }
  for (const [name, { data }] of Object.entries(arrays)) {
    const bad = notFinite(data);
    if (bad) throw new RangeError(`Cannot write statistics to "${path}": ${name} is not finite: ${bad}`);
  }
  await writeNpz(path, arrays);
}

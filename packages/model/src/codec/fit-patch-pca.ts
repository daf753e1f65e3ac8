import { assertFinite } from "../finite.js";
import { ShapeError } from "../shape.js";
import { codecConfig } from "./config.js";
import { eigenvectors, type Eigen } from "./eigenvectors.js";
import { MAX_PATCH, valuesOfPatch, type PatchPca } from "./kinds/patch-pca.js";

/** A codec of principal components with its weights, as `codecSpecs` lists them. */
export interface FittedPatchPca {
  readonly codec: PatchPca;
  readonly weights: { readonly mean: Float32Array; readonly basis: Float32Array };
  /** Share of the patches' variance that the channels keep, in [0, 1]. */
  readonly keptVariance: number;
}

/**
 * Fits the codec `patch-pca` to images that come one after another: sums in double precision, then the eigenvectors of
 * the covariance of all patches,
 *
 *     z = Bᵀ (patch - mean patch)      B: eigenvectors of the C largest eigenvalues λ      scale: mean 0, std sqrt(λ)
 *
 * The same images in the same order give the same bits.
 *
 * @example
 * const fit = new PatchPcaFit(4, 64);
 * for await (const image of images) fit.add(floatsOfPixels(image.pixels));
 * const { codec, weights } = fit.finish(12);
 */
export class PatchPcaFit {
  private readonly sums: Float64Array; // (n)
  private readonly products: Float64Array; // (n, n); below the diagonal zero
  private readonly values: Float64Array; // (n) of one patch
  private count = 0;
  private eigen: { readonly mean: Float64Array; readonly of: Eigen } | undefined;

  /**
   * @param patch Side of a patch in pixels, in [1, 16].
   * @param side Side of the images in pixels, a multiple of the patch's.
   * @throws {ShapeError} If they do not fit.
   */
  constructor(
    private readonly patch: number,
    private readonly side: number,
  ) {
    if (!Number.isInteger(patch) || patch < 1 || patch > MAX_PATCH)
      throw new ShapeError(`Cannot fit patches of side ${patch}, expected an integer in [1, ${MAX_PATCH}]`);
    if (!Number.isInteger(side) || side < 1 || side % patch !== 0)
      throw new ShapeError(`Cannot cut images of side ${side} into patches of side ${patch}`);
    const n = valuesOfPatch({ patch });
    this.sums = new Float64Array(n);
    this.products = new Float64Array(n * n);
    this.values = new Float64Array(n);
  }

  /** Patches that were added. */
  get patches(): number {
    return this.count;
  }

  /**
   * Adds the patches of one image or more.
   *
   * @param images (N, side, side, 3) float32 in [-1, 1]. Borrowed.
   * @throws {ShapeError} If these are no whole images. {RangeError} If a value is not finite; nothing is added then.
   */
  add(images: Float32Array): void {
    const { patch, side } = this;
    const N = images.length / (side ** 2 * 3);
    if (!Number.isInteger(N))
      throw new ShapeError(`Cannot fit ${images.length} values, expected a multiple of ${side} x ${side} x 3`);
    const before = this.count / (side / patch) ** 2;
    assertFinite(images, N, (image) => `Cannot fit patches: image ${before + image} is not finite`);
    // Rows of patches go on from one image to the next.
    for (let top = 0; top < N * side; top += patch)
      for (let left = 0; left < side; left += patch) {
        let at = 0;
        for (let y = top; y < top + patch; y++)
          for (let i = (y * side + left) * 3; i < (y * side + left + patch) * 3; i++)
            this.values[at++] = images[i] ?? NaN;
        this.addPatch();
      }
    this.eigen = undefined;
  }

  private addPatch(): void {
    const { values, sums, products } = this;
    const n = values.length;
    for (let i = 0; i < n; i++) {
      const x = values[i] as number;
      sums[i] = (sums[i] as number) + x;
      for (let j = i, at = i * n + i; j < n; j++, at++)
        products[at] = (products[at] as number) + x * (values[j] as number);
    }
    this.count++;
  }

  /**
   * The codec of the first `channels` principal components of all patches so far. May be asked for several, and after
   * it more images may be added.
   *
   * @param channels At most 3 · patch².
   * @param whiten How much variances are made equal, w in [0, 1]: with 1 each channel's is 1, with 0 they keep their
   *   ratios, and so does noise to detail in the images; between, std is proportional to λ^(w/2).
   * @param spread Standard deviation of all channels together, s. Less than 1 puts more of the noise schedule where an
   *   image is hidden as a whole, which is what few latent pixels with much in common need.
   * @throws {ShapeError} If there are fewer values in a patch, or fewer directions in which patches differ.
   * @throws {RangeError} If `whiten` is not in [0, 1], or `spread` not positive.
   */
  finish(channels: number, whiten = 1, spread = 1): FittedPatchPca {
    const n = this.values.length;
    if (!Number.isInteger(channels) || channels < 1 || channels > n)
      throw new ShapeError(`Cannot keep ${channels} channels of patches with ${n} values`);
    if (!(whiten >= 0 && whiten <= 1)) throw new RangeError(`Cannot whiten by ${whiten}, expected 0 to 1`);
    if (!(spread > 0 && spread < Infinity))
      throw new RangeError(`Cannot spread latents by ${spread}, expected more than 0`);
    if (this.count === 0) throw new ShapeError("Cannot fit patches: there are no images");
    const { mean, of } = (this.eigen ??= this.decompose());
    const rank = of.values.filter((value) => value > 1e-12 * Math.max(of.values[0] as number, 1e-12)).length;
    if (channels > rank)
      throw new ShapeError(`Cannot keep ${channels} channels: the patches differ in ${rank} directions only`);
    const basis = new Float32Array(n * channels);
    for (let i = 0; i < n; i++)
      for (let c = 0; c < channels; c++) basis[i * channels + c] = of.vectors[c * n + i] as number;
    const variances = of.values.subarray(0, channels);
    const unit = Math.sqrt(variances.reduce((sum, value) => sum + value ** (1 - whiten), 0) / channels) / spread;
    const scale = {
      mean: Array<number>(channels).fill(0),
      std: Array.from(variances, (value) => unit * value ** (whiten / 2)),
    };
    const total = of.values.reduce((sum, value) => sum + value, 0);
    const { patch, side } = this;
    return {
      codec: codecConfig({ kind: "patch-pca", patch, channels, side, scale }) as PatchPca,
      weights: { mean: Float32Array.from(mean), basis },
      keptVariance: variances.reduce((sum, value) => sum + value, 0) / total,
    };
  }

  private decompose() {
    const { sums, products, count } = this;
    const n = sums.length;
    const mean = sums.map((sum) => sum / count);
    const covariance = new Float64Array(n * n);
    for (let i = 0; i < n; i++)
      for (let j = i; j < n; j++) {
        const value = (products[i * n + j] as number) / count - (mean[i] as number) * (mean[j] as number);
        covariance[i * n + j] = covariance[j * n + i] = value;
      }
    return { mean, of: eigenvectors(covariance, n) };
  }
}

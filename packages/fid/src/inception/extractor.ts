import {
  compileInference,
  spec,
  type EngineName,
  type Program,
  type SessionOptions,
  type TensorSpec,
} from "@madformer/engine";
import type * as tf from "@tensorflow/tfjs-core";
import { FROM_BYTE } from "../resize/bilinear-bytes.js";
import { inceptionFeatures, SPATIAL_DIMS } from "./network.js";
import { inceptionUnits, type InceptionDims } from "./units.js";
import type { InceptionWeights } from "./weights.js";

/**
 * Images of one run. *Measured* (2 cores, 256x256 pixels, 2048 channels): 17.2 images/s at 2, 18.1 at 10, 18.4 at 50,
 * where memory is five times that of 10. Divides 50, the batch of the reference.
 */
const BATCH_IMAGES = 10;

export interface ExtractorOptions {
  /** Where the features are taken. Default: the furthest that the weights reach. */
  readonly dims?: InceptionDims;
  /** Size of the images. */
  readonly imageSize: { readonly height: number; readonly width: number };
  /** Images that go through the network together: a question of speed and memory alone. Default: 10. */
  readonly batchImages?: number;
  /** Whether spatial features are made too; 768 channels and more reach them. Default: no. */
  readonly spatial?: boolean;
  /** Which engine runs the network. Default: the engine's. */
  readonly engine?: EngineName;
  /** Settings of ONNX Runtime. */
  readonly session?: SessionOptions;
}

/** What the network sees in images. */
export interface InceptionOutputs {
  /** (N, dims) */
  readonly features: Float32Array;
  /** (N, 2023), if they were asked for. */
  readonly spatial?: Float32Array | undefined;
}

type FeatureProgram = Program<{ readonly images: TensorSpec }, Record<string, tf.Tensor2D>>;

/**
 * The Inception network, compiled for images of one size.
 *
 * @example
 * await using extractor = await InceptionExtractor.create(weights, { imageSize: { height: 256, width: 256 } });
 * const features = await extractor.features(images); // (N, 2048)
 */
export class InceptionExtractor implements AsyncDisposable {
  /** Channels of a feature. */
  readonly dims: InceptionDims;
  /** Images that go through the network together. */
  readonly batchImages: number;
  private readonly imageElements: number;
  private readonly spatial: boolean;
  private readonly program: FeatureProgram;

  private constructor(
    program: FeatureProgram,
    options: Required<Pick<ExtractorOptions, "dims" | "batchImages" | "imageSize" | "spatial">>,
  ) {
    this.program = program;
    this.dims = options.dims;
    this.batchImages = options.batchImages;
    this.imageElements = options.imageSize.height * options.imageSize.width * 3;
    this.spatial = options.spatial;
  }

  /**
   * Compiles the network.
   *
   * @param weights As `readInceptionWeights` returns them. Borrowed for good: the program refers to them.
   * @throws {RangeError} If the weights do not reach `dims`, `dims` no spatial features, or a size is not a positive
   *   whole number.
   */
  static async create(weights: InceptionWeights, options: ExtractorOptions): Promise<InceptionExtractor> {
    const { dims = weights.dims, batchImages = BATCH_IMAGES, spatial = false, imageSize, engine, session } = options;
    const { height, width } = imageSize;
    for (const [name, value] of Object.entries({ batchImages, height, width }))
      if (!Number.isSafeInteger(value) || value <= 0)
        throw new RangeError(`Cannot extract features: ${name} is ${value}, expected a positive whole number`);
    if (dims > weights.dims)
      throw new RangeError(`Cannot extract features of ${dims} channels: the weights reach ${weights.dims}`);
    if (spatial && dims < 768)
      throw new RangeError(
        `Cannot extract spatial features: those of ${dims} channels end before, expected 768 or more`,
      );

    const units = Object.fromEntries(
      [...inceptionUnits(dims)].map(([name, { kernel: size, channelsIn, channelsOut }]) => {
        const { kernel, bias } = weights.units.get(name)!;
        const shape = [...size, channelsIn, channelsOut] as const;
        return [name, { kernel: { shape, data: kernel }, bias: { shape: [channelsOut] as const, data: bias } }];
      }),
    );
    const program = await compileInference(
      (units, { images }): Record<string, tf.Tensor2D> => {
        const made = inceptionFeatures(units, images, dims);
        return spatial ? { ...made } : { features: made.features };
      },
      units,
      { images: spec([batchImages, height, width, 3]) },
      { name: `inception-${dims}`, engine, session },
    );
    return new InceptionExtractor(program, { dims, batchImages, imageSize, spatial });
  }

  /**
   * Features of any number of images, `batchImages` at a time.
   *
   * @param images (N, height, width, 3): uint8 in [0, 255], or float32 in [0, 1]. Borrowed until the promise settles.
   * @returns (N, dims), row-major. New, owned by the caller.
   * @throws {RangeError} If the elements are no whole number of images.
   */
  async features(images: Uint8Array | Uint8ClampedArray | Float32Array): Promise<Float32Array> {
    return (await this.run(images)).features;
  }

  /** Features, and spatial ones if the network was compiled for them: as `features`. */
  async run(images: Uint8Array | Uint8ClampedArray | Float32Array): Promise<InceptionOutputs> {
    const { dims, batchImages, imageElements } = this;
    const N = images.length / imageElements;
    if (!Number.isInteger(N))
      throw new RangeError(
        `Cannot extract features: ${images.length} elements are no whole number of images of ${imageElements}`,
      );
    const features = new Float32Array(N * dims);
    const spatial = this.spatial ? new Float32Array(N * SPATIAL_DIMS) : undefined;
    for (let first = 0; first < N; first += batchImages) {
      const last = Math.min(first + batchImages, N);
      const part = images.subarray(first * imageElements, last * imageElements);
      const batch = batchOf(part, batchImages * imageElements);
      const made = (await this.program.run({ images: batch })) as Record<string, Float32Array>;
      features.set(made["features"]!.subarray(0, (last - first) * dims), first * dims);
      spatial?.set(made["spatial"]!.subarray(0, (last - first) * SPATIAL_DIMS), first * SPATIAL_DIMS);
    }
    return { features, spatial };
  }

  /** Frees the program once its runs have ended. */
  dispose(): Promise<void> {
    return this.program.dispose();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }
}

/** Elements of a whole batch, in [0, 1]; a short one is filled up with black, which nothing looks at. */
function batchOf(part: Uint8Array | Uint8ClampedArray | Float32Array, size: number): Float32Array {
  if (part instanceof Float32Array && part.length === size) return part;
  const batch = new Float32Array(size);
  if (part instanceof Float32Array) batch.set(part);
  else for (let i = 0; i < part.length; i++) batch[i] = FROM_BYTE[part[i]!]!;
  return batch;
}

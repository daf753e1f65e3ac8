import {
  compileInference,
  spec,
  type EngineName,
  type Program,
  type SessionOptions,
  type TensorSpec,
  type Weight,
} from "@madformer/engine";
import type * as tf from "@tensorflow/tfjs-core";
import { toInput } from "./data.js";
import { sizeOf, type FacesNet } from "./file.js";
import { facesNetFeatures, facesNetHead, facesNetShapes, finishedUnit } from "./network.js";

/** Images of one run. */
const BATCH_IMAGES = 50;

export interface FacesNetExtractorOptions {
  /** Images that go through the network together: a question of speed and memory alone. Default: 50. */
  readonly batchImages?: number;
  /** Which engine runs the network. Default: the engine's. */
  readonly engine?: EngineName;
  /** Settings of ONNX Runtime. */
  readonly session?: SessionOptions;
}

/** What the network says about images. */
export interface FacesNetOutputs {
  /** (N, dims) */
  readonly features: Float32Array;
  /** (N, outputs): logits of each label's classes, or its number in [-1, 1]. */
  readonly outputs: Float32Array;
}

type FacesNetProgram = Program<
  { readonly images: TensorSpec },
  { readonly features: tf.Tensor2D; readonly outputs: tf.Tensor2D }
>;

/**
 * The network of the drawn faces, compiled for images of its size.
 *
 * @example
 * await using extractor = await FacesNetExtractor.create(await readFacesNet(paths));
 * const features = await extractor.features(images); // (N, dims)
 */
export class FacesNetExtractor implements AsyncDisposable {
  private constructor(
    private readonly program: FacesNetProgram,
    private readonly net: FacesNet,
    /** Images that go through the network together. */
    readonly batchImages: number,
  ) {}

  /** Channels of a feature. */
  get dims(): number {
    return this.net.description.dims;
  }

  /** @param net Borrowed for good: the program refers to its weights. */
  static async create(net: FacesNet, options: FacesNetExtractorOptions = {}): Promise<FacesNetExtractor> {
    const { batchImages = BATCH_IMAGES, engine, session } = options;
    const { sidePixels, dims } = net.description;
    const shapes = facesNetShapes(sizeOf(net.description));
    const weights = Object.entries(shapes).map(([name, shape]) => [name, { shape, data: net.weights[name]! }]);
    const program = await compileInference(
      (weights, { images }) => {
        const features = facesNetFeatures(images, dims, finishedUnit(weights));
        return { features, outputs: facesNetHead(weights, features) };
      },
      Object.fromEntries(weights) as Readonly<Record<string, Weight>>,
      { images: spec([batchImages, sidePixels, sidePixels, 3]) },
      { name: "faces-net", engine, session },
    );
    return new FacesNetExtractor(program, net, batchImages);
  }

  /**
   * Features of any number of images.
   *
   * @param images (N, side, side, 3) uint8. Borrowed until the promise settles.
   * @returns (N, dims), row-major. New, owned by the caller.
   * @throws {RangeError} If the bytes are no whole number of images.
   */
  async features(images: Uint8Array): Promise<Float32Array> {
    return (await this.run(images)).features;
  }

  /** Features, and what they say about the attributes: as `features`. */
  async run(images: Uint8Array): Promise<FacesNetOutputs> {
    const { batchImages, net } = this;
    const size = sizeOf(net.description);
    const imageBytes = size.sidePixels ** 2 * 3;
    const N = images.length / imageBytes;
    if (!Number.isInteger(N))
      throw new RangeError(
        `Cannot extract features: ${images.length} bytes are no whole number of images of ${imageBytes}`,
      );
    const features = new Float32Array(N * size.dims);
    const outputs = new Float32Array(N * size.outputs);
    for (let first = 0; first < N; first += batchImages) {
      const rows = Math.min(batchImages, N - first);
      const batch = new Float32Array(batchImages * imageBytes); // a short one ends in gray, which nothing looks at
      toInput(images.subarray(first * imageBytes, (first + rows) * imageBytes), batch);
      const made = (await this.program.run({ images: batch })) as FacesNetOutputs;
      features.set(made.features.subarray(0, rows * size.dims), first * size.dims);
      outputs.set(made.outputs.subarray(0, rows * size.outputs), first * size.outputs);
    }
    return { features, outputs };
  }

  /** Frees the program once its runs have ended. */
  dispose(): Promise<void> {
    return this.program.dispose();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }
}

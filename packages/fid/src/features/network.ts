import { mkdir } from "node:fs/promises";
import { basename, extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { DataError, digestFile, download, type Artifact } from "@madformer/artifacts";
import type { Outside } from "@madformer/stage";
import { FacesNetExtractor } from "../faces-net/extractor.js";
import { digestOf, readFacesNet } from "../faces-net/file.js";
import { InceptionExtractor } from "../inception/extractor.js";
import { openInceptionWeights } from "../inception/file.js";
import { INCEPTION_SIDE, SPATIAL_DIMS } from "../inception/network.js";
import type { InceptionDims } from "../inception/units.js";
import { classifierOfFaces, type Classifier } from "./classifier.js";
import { PUBLISHED_INCEPTION, type NetworkName, type ResizeName } from "./network-names.js";
import { RESIZES } from "./resizes.js";

/** A network that makes features of images. */
export interface FeatureNetwork {
  readonly name: NetworkName;
  /** Of everything that decides its features: equal weights have one digest, whatever the format of their file. */
  readonly digest: string;
  /** Whether its weights are the published file of Inception. */
  readonly isPublished: boolean;
  /** Channels of a feature. */
  readonly dims: number;
  /** Channels of a spatial feature, if it makes any. */
  readonly spatialDims?: number;
  /** What it says of classes, if it knows any. */
  readonly classifier?: Classifier | undefined;
  /** How images come to the size that the network sees. */
  readonly resize: string;
  /** Whose way that is, where there are several. */
  readonly resizeName?: ResizeName;
  /**
   * Compiles it for images of one size.
   *
   * @throws {DataError} If it cannot see images of that size.
   */
  open(size: ImageSize): Promise<FeatureExtractor>;
  /** If it sees images of any size: what brings them to its own, where they differ. */
  readonly anySize?: AnySize;
}

export interface ImageSize {
  readonly width: number;
  readonly height: number;
}

/** How images that differ in size come to one network: each is resized by itself, as the network would. */
export interface AnySize {
  /** Whether images of one size are resized so, too: the network cannot do it. */
  readonly isAlways: boolean;
  /** Pixels each way that it sees. */
  readonly side: number;
  /** Writes one image, (height, width, 3) uint8, as (side, side, 3) float32 in [0, 1]. */
  readonly resize: (pixels: Uint8Array, size: ImageSize, result: Float32Array) => void;
  /** Compiles it for images that came to its size. */
  readonly open: () => Promise<FeatureExtractor<Float32Array>>;
}

export interface FeatureExtractor<Pixels = Uint8Array> extends AsyncDisposable {
  /** Of images (N, height, width, 3), uint8 in [0, 255] or float32 in [0, 1]. */
  readonly run: (images: Pixels) => Promise<Features>;
}

/** What a network sees in images. */
export interface Features {
  /** (N, dims) */
  readonly features: Float32Array;
  /** (N, spatialDims), if it makes them. */
  readonly spatial?: Float32Array | undefined;
}

/**
 * The network of an artifact that the stage `faces-net` made.
 *
 * @throws {DataError} If the artifact is none.
 */
export async function openFacesNetwork(net: Artifact, batchImages: number): Promise<FeatureNetwork> {
  const [description, weights] = [await net.path("net.json"), await net.path("net.safetensors")];
  const opened = await readFacesNet({ description, weights });
  const { sidePixels, dims } = opened.description;
  return {
    name: "faces-net",
    digest: digestOf(opened),
    isPublished: false,
    dims,
    classifier: classifierOfFaces(opened),
    resize: `none: ${sidePixels} x ${sidePixels}`,
    open: async ({ width, height }) => {
      if (width !== sidePixels || height !== sidePixels)
        throw new DataError(
          `Cannot extract features: images are ${width} x ${height} pixels, expected ${sidePixels} x ${sidePixels} as the network was trained on`,
        );
      return FacesNetExtractor.create(opened, { batchImages });
    },
  };
}

export interface InceptionLocation {
  /** Path or URL of a file as `openInceptionWeights` reads it. */
  readonly weights?: string | undefined;
  /** Where the features are taken. Default: 2048. */
  readonly dims?: InceptionDims;
  /** How images come to its size. */
  readonly resize: ResizeName;
  /** Whether spatial features are wanted, where the network reaches them. */
  readonly spatial: boolean;
  /** What the file's SHA-256 must be. */
  readonly sha256?: string | undefined;
  /** Where a file from a URL is kept. */
  readonly folder: string;
  readonly batchImages: number;
  readonly signal: AbortSignal;
  readonly progress?: (doneBytes: number, totalBytes: number | undefined) => void;
  /** Told, now and then, that another process is getting the same file. */
  readonly onWait?: (message: string) => void;
}

/** The published file has 91 MiB. */
const MAX_WEIGHTS_BYTES = 2 ** 30;

const isUrl = (location: string): boolean => /^[a-z][a-z+.-]*:\/\//i.test(location);

/**
 * The Inception network with weights from a file or a URL. The file's SHA-256 must be the one that is given, and start
 * with the eight digits that PyTorch puts at the end of a name (`...-6726825d.pth`); a file of another format may keep
 * them.
 *
 * @throws {DataError} If no weights are given (it says how to get them), or they have another digest.
 */
export async function openInceptionNetwork(location: InceptionLocation): Promise<FeatureNetwork> {
  const { weights, dims, batchImages } = location;
  if (weights === undefined || weights === "")
    throw new DataError(
      `Cannot open the Inception network: "weights" is not set, expected a path or URL of ${PUBLISHED_INCEPTION.file} (91 MB, SHA-256 ${PUBLISHED_INCEPTION.sha256}), published at ${PUBLISHED_INCEPTION.url}`,
    );
  const name = basename(isUrl(weights) ? new URL(weights).pathname : weights);
  const published = name === PUBLISHED_INCEPTION.file ? PUBLISHED_INCEPTION.sha256 : undefined;
  const sha256 = location.sha256?.toLowerCase() ?? published;
  const path = isUrl(weights) ? await fetched(weights, { ...location, sha256 }) : weights;
  const fileDigest = (await digestFile(path)).sha256;
  const inName = /-([0-9a-f]{8})\.pth?$/.exec(name)?.[1];
  for (const [from, expected] of [
    ["sha256", sha256],
    ["its name", inName],
  ] as const)
    if (expected !== undefined && !fileDigest.startsWith(expected))
      throw new DataError(
        `Cannot use Inception weights "${weights}": their SHA-256 is ${fileDigest}, expected ${expected}${expected.length < 64 ? "..." : ""} by ${from}`,
      );
  const opened = await openInceptionWeights(path, dims);
  const [side, spatial] = [INCEPTION_SIDE, location.spatial && opened.dims >= SPATIAL_FROM];
  const { told, bytes, inNetwork } = RESIZES[location.resize];
  return {
    name: "inception",
    digest: opened.digest,
    isPublished: fileDigest === PUBLISHED_INCEPTION.sha256,
    dims: opened.dims,
    ...(spatial ? { spatialDims: SPATIAL_DIMS } : {}),
    classifier: opened.classifier,
    resize: told,
    resizeName: location.resize,
    open: (imageSize) => InceptionExtractor.create(opened, { imageSize, batchImages, spatial }),
    anySize: {
      isAlways: !inNetwork,
      side,
      resize: (pixels, size, result) => bytes(pixels, size, side, result),
      open: () => InceptionExtractor.create(opened, { imageSize: { width: side, height: side }, batchImages, spatial }),
    },
  };
}

/** Features of so many channels are taken behind the map that spatial features are of. */
const SPATIAL_FROM = 768;

/** The file of weights, if it is on this machine. */
export function inceptionFiles(weights: string | undefined): Outside[] {
  if (weights === undefined || weights === "") return [];
  if (!isUrl(weights)) return [{ path: weights, by: "content" }];
  try {
    return [{ path: fileURLToPath(weights), by: "content" }];
  } catch {
    return []; // of another machine
  }
}

/** Fetches weights, or finds them where they were fetched to before. */
async function fetched(url: string, { folder, sha256, signal, progress, onWait }: InceptionLocation): Promise<string> {
  const path = join(folder, `inception${extname(new URL(url).pathname)}`);
  await mkdir(folder, { recursive: true });
  await download(url, path, {
    signal,
    maxBytes: MAX_WEIGHTS_BYTES,
    ...(sha256 === undefined ? {} : { sha256 }),
    ...(progress === undefined ? {} : { onProgress: progress }),
    onWait,
  });
  return path;
}

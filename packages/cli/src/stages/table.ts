import type { Stage } from "@madformer/stage";

/** A stage as the command line lists it. Its package is loaded when it is needed: `--help` must not start an engine. */
export interface StageEntry {
  readonly name: string;
  readonly summary: string;
  /** Its package's folder. */
  readonly folder: string;
  readonly load: () => Promise<Stage<never>>;
}

const entry = (name: string, folder: string, summary: string, load: () => Promise<unknown>): StageEntry => ({
  name,
  folder,
  summary,
  load: load as () => Promise<Stage<never>>,
});

/** All stages, in the order of a whole reproduction. */
export const STAGES: readonly StageEntry[] = [
  entry(
    "dataset",
    "packages/data-prep",
    "get images: drawn faces, a folder, tars, the Hugging Face hub, S3",
    async () => (await import("@madformer/data-prep")).datasetStage,
  ),
  entry(
    "shards",
    "packages/data-prep",
    "decode, crop and resize images into Arrow shards",
    async () => (await import("@madformer/data-prep")).shardsStage,
  ),
  entry(
    "vae",
    "packages/data-prep",
    "train or import an autoencoder",
    async () => (await import("@madformer/data-prep")).vaeStage,
  ),
  entry(
    "latents",
    "packages/data-prep",
    "encode images",
    async () => (await import("@madformer/data-prep")).latentsStage,
  ),
  entry(
    "train",
    "packages/train",
    "train a MADFormer on latents",
    async () => (await import("@madformer/train")).trainStage,
  ),
  entry(
    "import",
    "packages/data-prep",
    "take weights from PyTorch or safetensors: a file, https, S3, Hugging Face",
    async () => (await import("@madformer/data-prep")).importStage,
  ),
  entry(
    "export",
    "packages/train",
    "weights as safetensors and PyTorch's file, programs as ONNX",
    async () => (await import("@madformer/train")).exportStage,
  ),
  entry(
    "sample",
    "packages/sample",
    "sample images from a checkpoint",
    async () => (await import("@madformer/sample")).sampleStage,
  ),
  entry(
    "faces-net",
    "packages/fid",
    "train the network whose features score drawn faces",
    async () => (await import("@madformer/fid")).facesNetStage,
  ),
  entry(
    "features",
    "packages/fid",
    "features of images and their statistics",
    async () => (await import("@madformer/fid")).featuresStage,
  ),
  entry(
    "score",
    "packages/fid",
    "Fréchet distance, precision and recall",
    async () => (await import("@madformer/fid")).scoreStage,
  ),
  entry(
    "classes",
    "packages/fid",
    "how often a network reads the class that was asked for",
    async () => (await import("@madformer/fid")).classesStage,
  ),
  entry(
    "report",
    "packages/report",
    "one page about a run",
    async () => (await import("@madformer/report")).reportStage,
  ),
];

/** What a stage is for and how it is used: its line in the list of stages, and the end of its help. */
export interface Guide {
  readonly summary: string;
  /** Commands as they are typed, the plainest first; folders are called `runs/<stage>`. */
  readonly examples: readonly string[];
  /** What is usually done with what it made: a command, or a sentence. */
  readonly next: string;
}

/** By the stages' names, in the order of a whole reproduction. */
export const GUIDES: Readonly<Record<string, Guide>> = {
  dataset: {
    summary: "get images: drawn faces, a folder, tars, the Hugging Face hub, S3",
    examples: [
      "madformer dataset --source faces --source.count 6000 --source.side 96 --out runs/dataset",
      "madformer dataset --source folder --source.path photos --out runs/dataset",
      "madformer dataset --source webdataset --source.tars 'data/{00000..00069}.tar' --out runs/dataset",
      "madformer dataset --source huggingface --source.repo gaunernst/ffhq-1024-wds --out runs/dataset",
    ],
    next: "madformer shards --dataset runs/dataset --side 64 --out runs/shards",
  },
  shards: {
    summary: "decode, crop and resize images into Arrow shards",
    examples: [
      "madformer shards --dataset runs/dataset --side 64 --out runs/shards",
      "madformer shards --dataset runs/dataset --side 1024 --format webp-lossless --out runs/shards",
    ],
    next: "madformer latents --shards runs/shards --codec patch-pca --patch 8 --channels 32 --out runs/latents",
  },
  vae: {
    summary: "train or import an autoencoder",
    examples: [
      "madformer vae --source train --shards runs/shards --steps 2000 --out runs/vae",
      "madformer vae --source import --from sd-vae-ft-mse --shards runs/shards --out runs/vae",
    ],
    next: "madformer latents --shards runs/shards --vae runs/vae --out runs/latents",
  },
  latents: {
    summary: "encode images",
    examples: [
      "madformer latents --shards runs/shards --codec patch-pca --patch 8 --channels 32 --out runs/latents",
      "madformer latents --shards runs/shards --vae runs/vae --out runs/latents",
    ],
    next: "madformer train --latents runs/latents --model faces-64 --steps 2000 --out runs/train",
  },
  train: {
    summary: "train a MADFormer on latents",
    examples: [
      "madformer train --latents runs/latents --model faces-64 --steps 2000 --out runs/train",
      "madformer train --latents runs/latents --model.ar-layers 3 --schedule cosine --out runs/train",
      "madformer train --latents runs/latents --from runs/train --steps 4000 --out runs/train-on",
    ],
    next: "madformer export --train runs/train --out runs/export",
  },
  import: {
    summary: "take weights from PyTorch or safetensors: a file, https, S3, Hugging Face",
    examples: [
      "madformer import --source hf:JunhaoC/MADFormer-FFHQ --out runs/import",
      "madformer import --source runs/0010000.pt --codec runs/vae --out runs/import",
    ],
    next: "madformer sample --checkpoint runs/import --seeds 0-63 --steps 25 --out runs/sample",
  },
  export: {
    summary: "weights as safetensors and PyTorch's file, programs as ONNX",
    examples: [
      "madformer export --train runs/train --out runs/export",
      "madformer export --train runs/train --no-programs --out runs/export",
    ],
    next: "madformer sample --checkpoint runs/export --seeds 0-63 --steps 25 --out runs/sample",
  },
  sample: {
    summary: "sample images from a checkpoint",
    examples: [
      "madformer sample --checkpoint runs/export --seeds 0-63 --steps 25 --out runs/sample",
      "madformer sample --checkpoint runs/train --checkpoints 1000,2000 --out runs/sample",
      "madformer sample --checkpoint runs/export --solver ddim --steps 250 --clip --out runs/sample",
      "madformer sample --checkpoint runs/export --steps 8 --other-steps 1,2,4 --repeats 3 --out runs/sample",
    ],
    next: "look at runs/sample/grid.png; madformer features --help leads to a score",
  },
  "faces-net": {
    summary: "train the network whose features score drawn faces",
    examples: ["madformer faces-net --shards runs/shards --out runs/faces-net"],
    next: "madformer features --images runs/shards --net runs/faces-net --out runs/features-data",
  },
  features: {
    summary: "features of images and their statistics",
    examples: [
      "madformer features --images runs/sample --net runs/faces-net --out runs/features",
      "madformer features --images runs/shards --net runs/faces-net --out runs/features-data",
      "madformer features --images photos --network inception --weights weights.pth --out runs/features",
      "madformer features --images photos --network inception --weights weights.pth --resize clean-fid --out runs/features",
    ],
    next: "madformer score --reference runs/features-data --samples runs/features --out runs/score",
  },
  score: {
    summary: "distances, precision and recall, beside held-out data",
    examples: [
      "madformer score --reference runs/features-data --samples runs/features --out runs/score",
      "madformer score --reference pytorch-fid.npz --samples runs/features --out runs/score",
    ],
    next: "madformer report --sample runs/sample --score runs/score --out runs/report",
  },
  classes: {
    summary: "how often a network reads the class that was asked for",
    examples: ["madformer classes --samples runs/sample --net runs/faces-net --out runs/classes"],
    next: "madformer report --sample runs/sample --classes runs/classes --out runs/report",
  },
  report: {
    summary: "one page about a run",
    examples: [
      "madformer report --train runs/train --sample runs/sample --score runs/score --out runs/report",
      'madformer report --sample runs/sample --title "Sixty-four faces" --out runs/report',
    ],
    next: "open runs/report/index.html in a browser",
  },
};

/** The end of a stage's help, for who has not used it yet; nothing if there is no guide. */
export function guideText(stage: string): string {
  const guide = Object.hasOwn(GUIDES, stage) ? GUIDES[stage] : undefined;
  if (guide === undefined) return "";
  return `\nExamples:\n${guide.examples.map((line) => `  ${line}\n`).join("")}\nThen:\n  ${guide.next}`;
}

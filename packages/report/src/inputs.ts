/** The artifacts a page can be about, in the order in which they are made. It shows few files of them. */
export const INPUTS = {
  dataset: { summary: "The data set as it came, or as it was drawn", optional: true, few: true, stages: ["dataset"] },
  shards: {
    summary: "Its images, decoded and resized; examples are taken from here",
    optional: true,
    few: true,
    stages: ["shards"],
  },
  vae: { summary: "The trained autoencoder", optional: true, few: true, stages: ["vae"] },
  latents: { summary: "The images as the model sees them", optional: true, few: true, stages: ["latents"] },
  train: {
    summary: "The training: losses and sample grids",
    optional: true,
    few: true,
    stages: ["train"],
    unfinished: true,
  },
  export: { summary: "The weights that were sampled from", optional: true, few: true, stages: ["export", "import"] },
  sample: { summary: "The samples", optional: true, few: true, stages: ["sample"] },
  net: {
    summary: "The network of the features, if it was trained here",
    optional: true,
    few: true,
    stages: ["faces-net"],
  },
  reference: { summary: "Features of the data", optional: true, few: true, stages: ["features"] },
  features: { summary: "Features of the samples", optional: true, few: true, stages: ["features"] },
  classes: { summary: "What a network reads in samples of classes", optional: true, few: true, stages: ["classes"] },
  score: { summary: "The scores", optional: true, few: true, stages: ["score"] },
} as const;
export type StageName = keyof typeof INPUTS;

/** Titles of stages, as the page writes them. */
export const TITLES: Readonly<Record<StageName, string>> = {
  dataset: "Data set",
  shards: "Image shards",
  vae: "Autoencoder",
  latents: "Latents",
  train: "Training",
  export: "Export",
  sample: "Samples",
  net: "Feature network",
  reference: "Features of the data",
  features: "Features of the samples",
  classes: "Classes read",
  score: "Score",
};

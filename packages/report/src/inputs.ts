/** The artifacts a page can be about, in the order in which they are made. */
export const INPUTS = {
  dataset: { summary: "The data set as it came, or as it was drawn", optional: true },
  shards: { summary: "Its images, decoded and resized; examples are taken from here", optional: true },
  vae: { summary: "The trained autoencoder", optional: true },
  latents: { summary: "The images as the model sees them", optional: true },
  train: { summary: "The training: losses and sample grids", optional: true },
  export: { summary: "The weights that were sampled from", optional: true },
  sample: { summary: "The samples", optional: true },
  net: { summary: "The network of the features, if it was trained here", optional: true },
  reference: { summary: "Features of the data", optional: true },
  features: { summary: "Features of the samples", optional: true },
  score: { summary: "The scores", optional: true },
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
  score: "Score",
};

import { nearest } from "@madformer/stage";

/**
 * Words that people bring from PyTorch's programs, and the flags they may mean here: the first of them that a command
 * has is suggested.
 */
const MEANT: Readonly<Record<string, readonly string[]>> = {
  lr: ["learning-rate"],
  "base-lr": ["learning-rate"],
  "learning-rate-schedule": ["schedule"],
  scheduler: ["schedule"],
  "lr-scheduler": ["schedule"],
  "lr-schedule": ["schedule"],
  "warmup-steps": ["schedule.warmup", "warmup"],
  "warmup-ratio": ["schedule.warmup", "warmup"],
  wd: ["optimizer.weight-decay", "weight-decay"],
  betas: ["optimizer.beta1", "optimizer"],
  "adam-beta1": ["optimizer.beta1"],
  "adam-beta2": ["optimizer.beta2"],
  "grad-clip": ["optimizer.max-grad-norm", "max-grad-norm"],
  "clip-grad": ["optimizer.max-grad-norm", "max-grad-norm"],
  "clip-grad-norm": ["optimizer.max-grad-norm", "max-grad-norm"],
  "gradient-clip-val": ["optimizer.max-grad-norm", "max-grad-norm"],
  "batch-size": ["batch-images", "images-per-shard"],
  batch: ["batch-images"],
  bs: ["batch-images"],
  "per-gpu-batch-size": ["batch-images"],
  "global-batch-size": ["batch-images"],
  "per-proc-batch-size": ["batch-images"],
  "gradient-checkpointing": ["recompute"],
  "grad-checkpointing": ["recompute"],
  "activation-checkpointing": ["recompute"],
  "grad-accum": ["accumulate"],
  "grad-accum-steps": ["accumulate"],
  "gradient-accumulation-steps": ["accumulate"],
  "accumulation-steps": ["accumulate"],
  iters: ["steps"],
  iterations: ["steps"],
  "max-steps": ["steps"],
  "train-steps": ["steps"],
  "total-steps": ["steps"],
  "num-steps": ["steps"],
  "num-epochs": ["epochs", "steps"],
  "max-epochs": ["epochs", "steps"],
  "num-sampling-steps": ["steps"],
  "num-inference-steps": ["steps"],
  "sampling-steps": ["steps"],
  sampler: ["solver"],
  "num-samples": ["seeds", "samples", "limit"],
  "num-fid-samples": ["seeds", "limit"],
  "n-samples": ["seeds", "samples"],
  "num-images": ["seeds", "limit", "limit-images", "source.count"],
  "global-seed": ["seed", "seeds"],
  seed: ["seeds", "source.seed"],
  ckpt: ["checkpoint", "from", "train"],
  "ckpt-path": ["checkpoint", "from", "train"],
  "checkpoint-path": ["checkpoint", "from", "train"],
  "model-path": ["checkpoint", "from", "train"],
  resume: ["from", "out"],
  "resume-from": ["from", "out"],
  "resume-from-checkpoint": ["from", "out"],
  pretrained: ["from", "checkpoint"],
  "init-from": ["from"],
  ema: ["weights"],
  "use-ema": ["weights"],
  "ema-decay": ["ema.decay", "ema"],
  "ema-rate": ["ema.decay", "ema"],
  "ckpt-every": ["checkpoint-every", "checkpoint-steps"],
  "save-every": ["checkpoint-every", "checkpoint-steps"],
  "save-interval": ["checkpoint-every", "checkpoint-steps"],
  "save-steps": ["checkpoint-every", "checkpoint-steps"],
  "log-interval": ["log-every"],
  "logging-steps": ["log-every"],
  "print-freq": ["log-every"],
  "image-size": ["side", "source.side"],
  resolution: ["side", "source.side"],
  size: ["side", "source.side"],
  "data-path": ["dataset", "latents", "shards", "images", "source.path"],
  "data-dir": ["dataset", "latents", "shards", "images", "source.path"],
  data: ["dataset", "latents", "shards", "images", "source"],
  dataset: ["latents", "shards", "source"],
  "dataset-path": ["dataset", "latents", "shards", "source.path"],
  output: ["out"],
  "output-dir": ["out"],
  "results-dir": ["out"],
  "save-dir": ["out"],
  "out-dir": ["out"],
  outdir: ["out"],
  o: ["out"],
  cfg: ["config"],
  vae: ["vae", "codec"],
  "vae-path": ["vae"],
  preset: ["model"],
  "model.preset": ["model"],
  arch: ["model"],
  depth: ["model.ar-layers", "model.diffusion-layers"],
  "hidden-size": ["model.width"],
  dim: ["model.width", "dims"],
  "n-heads": ["model.heads"],
  "num-heads": ["model.heads"],
  "horizontal-flip": ["flip"],
  hflip: ["flip"],
  real: ["reference"],
  fake: ["samples"],
  dims: ["inception-dims"],
  device: ["engine"],
  backend: ["engine"],
  gpu: ["engine"],
  gpus: ["engine"],
  "mixed-precision": ["precision"],
  dtype: ["precision"],
  amp: ["precision"],
  fp16: ["precision"],
  bf16: ["precision"],
  "num-threads": ["threads"],
};

/** What has no place here, and why: these are looked up when nothing else is near. */
const NO_NEED: Readonly<Record<string, string>> = {
  device: "the engine decides where it runs",
  gpu: "the engine decides where it runs",
  gpus: "the engine decides where it runs",
  "num-workers": "batches are made while the network runs",
  workers: "work is spread over the processor's cores by itself",
};

/**
 * What was probably meant by an option that there is not.
 *
 * @param flag As it was typed, with its dashes.
 * @param all Flags of the command, without dashes.
 * @returns A sentence; undefined if nothing comes near.
 */
export function suggestOption(flag: string, all: readonly string[]): string | undefined {
  const flags = [...new Set(all)];
  const word = flag
    .replace(/^-+/, "")
    .replace(/=.*$/s, "")
    .replace(/([a-z\d])([A-Z])/g, "$1-$2")
    .replaceAll("_", "-")
    .toLowerCase();
  if (word === "") return undefined;
  const ends = flags.filter((other) => other.endsWith(`.${word}`));
  const own = word.split(".").at(-1) ?? word; // of model.dim what dim means
  const meant = [word, own].flatMap((name) => (Object.hasOwn(MEANT, name) ? (MEANT[name] ?? []) : []));
  const known = meant.find((other) => flags.includes(other));
  const last = flags.map((other) => other.split(".").at(-1) ?? other);
  const near = nearest(word, flags) ?? flags[last.indexOf(nearest(word, last) ?? "")];
  const longer = word.length < 3 ? [] : flags.filter((other) => last[flags.indexOf(other)]?.startsWith(`${word}-`));
  const start = word.slice(0, Math.max(3, Math.ceil(word.length * 0.6)));
  const alike = word.length < 3 ? [] : flags.filter((other) => other.startsWith(start));
  const found = [
    flags.includes(word) ? [word] : [],
    known ? [known] : [],
    ends,
    near ? [near] : [],
    longer,
    alike,
  ].find((some) => some.length > 0);
  if (found)
    return `Did you mean ${found
      .slice(0, 3)
      .map((other) => `--${other}`)
      .join(" or ")}?`;
  return Object.hasOwn(NO_NEED, word) ? `There is no need for it: ${NO_NEED[word]}` : undefined;
}

/** Words for what the commands do, and the commands. */
const COMMANDS: Readonly<Record<string, string>> = {
  generate: "sample",
  infer: "sample",
  inference: "sample",
  sampling: "sample",
  training: "train",
  finetune: "train",
  "fine-tune": "train",
  fid: "score",
  eval: "score",
  evaluate: "score",
  metrics: "score",
  encode: "latents",
  preprocess: "shards",
  prepare: "shards",
  resize: "shards",
  download: "dataset",
  data: "dataset",
  autoencoder: "vae",
  convert: "export",
  clean: "gc",
  prune: "gc",
  check: "verify",
  why: "explain",
  show: "inspect",
};

/** The command that was probably meant by one that there is not. */
export function suggestCommand(word: string, commands: readonly string[]): string | undefined {
  const found = nearest(word, commands) ?? (Object.hasOwn(COMMANDS, word) ? COMMANDS[word] : undefined);
  return found !== undefined && commands.includes(found) ? `Did you mean ${found}?` : undefined;
}

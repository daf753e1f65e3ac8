import type { SafetensorsFile, TensorInput, TorchCheckpoint } from "@madformer/artifacts";
import { fileShape, geometryOf, madformerSpecs, trainedSpecs, unlikeReference, withBuffers } from "@madformer/model";
import { learningRateFactor } from "@madformer/optim";
import type { TrainConfig } from "./config.js";
import { planOf } from "./plan.js";

/** A training run that has ended. */
export interface TrainedRun {
  readonly config: TrainConfig;
  /** Updates that were made. */
  readonly step: number;
  /** Images of the data set. */
  readonly images: number;
  /** Image pixels along a side of a latent pixel. */
  readonly pixelsPerLatent: number;
}

/**
 * A checkpoint as the reference saves it: weights, their average, AdamW's state, the schedule's, and a command line.
 *
 * Source: spec section 10; sections 19 and 27 for a model with classes. What of the command line has no counterpart
 * here has its default there. The model's sizes, which the reference's own programs cannot be told, are added under the
 * names of its constructor: `configFromReference` reads them. So are, for a model that the released code does not
 * compute alike, all switches as `quirks`, and in words as `not_reference` how it differs.
 *
 * @param files Of a checkpoint. Borrowed: open until what is returned has been written.
 */
export function torchCheckpoint(
  { config, step, images, pixelsPerLatent }: TrainedRun,
  files: { readonly weights: SafetensorsFile; readonly ema: SafetensorsFile; readonly state: SafetensorsFile },
): TorchCheckpoint {
  const { model, optimizer, schedule, loss } = config;
  const specs = Object.entries(madformerSpecs(model));
  const tensor = (file: SafetensorsFile, name: string, shape: readonly number[]): TensorInput => ({
    dtype: "float32",
    shape,
    data: () => file.readWeights(name),
  });
  const dict = (file: SafetensorsFile) =>
    withBuffers(
      model,
      new Map(specs.map(([key, spec]) => [key, tensor(file, key, fileShape(spec))])),
      ({ shape, data }): TensorInput => ({ dtype: "float32", shape, data }),
    );
  const moments = Object.entries(trainedSpecs(model, loss)).map(([key, spec]) => {
    const [expAvg, expAvgSq] = ["exp_avg", "exp_avg_sq"].map((kind) =>
      tensor(files.state, `${kind}.${key}`, fileShape(spec)),
    ) as [TensorInput, TensorInput];
    return [key, { step, expAvg, expAvgSq }] as const;
  });

  const base = config.learningRate;
  const factor = learningRateFactor(schedule, step, planOf(config, images).steps, model.quirks.warmupStart);
  const scheduled = schedule.kind !== "constant";
  const group = {
    lr: base * factor,
    betas: [optimizer.beta1, optimizer.beta2] as const,
    eps: optimizer.eps,
    weightDecay: optimizer.weightDecay,
    ...(scheduled ? { initialLr: base } : {}),
    params: specs.map(([key]) => key),
  };
  return {
    model: dict(files.weights),
    ema: dict(files.ema),
    opt: { moments: new Map(moments), groups: [group] },
    lrs: scheduled ? { baseLrs: [base], lastEpoch: step, stepCount: step + 1, lastLr: [base * factor] } : null,
    args: {
      ...commandLine({ config, step, images, pixelsPerLatent }),
      lambda_hidden_loss: loss.lambdaHidden,
      clear_tower_loss_lambda: loss.lambdaClean,
      ...modelArguments(config),
      ...textArguments(config),
      ...switches(config),
    },
    ...(model.text ? { counters: countersOf({ config, step, images, pixelsPerLatent }) } : {}),
  };
}

/** The arguments of the reference's train.py, except for those of the model. */
function commandLine({ config, step, images, pixelsPerLatent }: TrainedRun) {
  const { optimizer, schedule, batchImages, accumulate } = config;
  const stepImages = batchImages * accumulate;
  return {
    results_dir: "results",
    dataset: "ffhq",
    dataset_path: null,
    lr: config.learningRate,
    weight_decay: optimizer.weightDecay,
    beta1: optimizer.beta1,
    beta2: optimizer.beta2,
    epochs: Math.ceil((step * stepImages) / images),
    global_batch_size: stepImages,
    per_gpu_batch_size: batchImages,
    global_seed: config.seed,
    num_workers: 4,
    log_every: config.logEvery,
    ckpt_every: config.checkpointEvery,
    mixed_precision: "none",
    max_grad_norm: optimizer.maxGradNorm,
    image_size: geometryOf(config.model).latentSide * pixelsPerLatent,
    patch_size: 1,
    vae_latent_size: config.model.latentChannels,
    vae_patch_pixels: pixelsPerLatent,
    lr_scheduler: schedule.kind,
    lr_warmup: schedule.kind === "constant" ? 0.01 : schedule.warmup,
    local_rank: 0,
    model_config_path: "./src/configs/model/madformer.json",
    id: null,
  };
}

/** The model: what train.py can be told of it, then what only the model's constructor can. */
function modelArguments({ model }: TrainConfig) {
  const { T, M, P } = geometryOf(model);
  const { unet } = model;
  return {
    block_size: M,
    pre_downsample_block_size: P,
    square_block: true,
    ar_len: T,
    use_rope: true,
    spatial_len: T * M,
    diff_depth: model.diffusionLayers,
    clear_clean: model.clearClean,
    clear_cond: model.clearCond,
    denoising_mlp: model.denoisingMlp,
    single_tower: model.singleTower,
    prediction: model.prediction,

    depth: model.arLayers + model.diffusionLayers,
    hidden_size: model.width,
    num_heads: model.heads,
    intermediate_size: model.mlpWidth,
    latent_channels: model.latentChannels,
    rms_norm_eps: model.normEps,
    qk_norm_eps: model.qkNormEps,
    no_qk_norm: !model.qkNorm,
    unet_block_out_channels: [...unet.channels],
    unet_num_layers_per_block: [...unet.layers],
    unet_transformer_layers_per_block: unet.attention.map((attention) => (attention ? 1 : 0)),
    unet_resnet_groups: unet.groups,
    unet_num_heads: unet.heads,
    unet_time_emb_dim: unet.timeChannels,
  };
}

/**
 * A model with classes: what the branch's train.py is told, what it reads from its json, and the rest of what is said
 * of the text here.
 */
function textArguments({ model: { text }, loss }: TrainConfig) {
  if (!text) return {};
  const { classes, words, head, sampled } = text;
  const list = typeof words === "string" ? words : { ...words, classes: [...words.classes] };
  return {
    dataset: "imagenet",
    text_loss_lambda: loss.lambdaText,
    image_loss_lambda: loss.lambdaImage,
    num_frames: 1, // its train.py asks for it, and has no default (spec section 31.21)
    vocab_size: text.vocabulary,
    max_position_embeddings: text.tokens,
    rope_theta: text.ropeTheta,
    ...(text.zeroRow === null ? {} : { pad_token_id: text.zeroRow }),
    text: { classes, words: list, zeroRow: text.zeroRow, head, sampled },
  };
}

/** Where a run stands, as the branch counts it: spec section 27. */
function countersOf({ config, step, images }: TrainedRun): Record<string, number> {
  const perEpoch = Math.max(1, Math.floor(images / (config.batchImages * config.accumulate)));
  return {
    train_steps: step,
    step_in_current_epoch: step % perEpoch,
    running_loss: 0,
    epoch: Math.floor(step / perEpoch),
  };
}

/** What the reference would not know, if there is something. */
function switches({ model }: TrainConfig) {
  const unlike = unlikeReference(model);
  return unlike.length === 0
    ? {}
    : { quirks: { ...model.quirks }, not_reference: `The released code computes something else: ${unlike.join("; ")}` };
}

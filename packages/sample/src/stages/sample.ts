import { join } from "node:path";
import { imageGrid, readRgb, writeNpz, writePng, type RgbImage } from "@madformer/artifacts";
import { computing } from "@madformer/engine";
import { labelOfSeed, SOLVER_NAMES, solverPlan, type MadformerConfig, type SolverName } from "@madformer/model";
import { defineStage, type StageContext } from "@madformer/stage";
import { chosenCheckpoints, openTrainedModel, type TrainedModel, type KeptWeights } from "../checkpoint.js";
import { chosenClasses, classNamesOf, overviewOf, sampleLabels, type SampleLabels } from "../classes.js";
import { otherSteps, SampleConfig } from "../config.js";
import { evaluationsOf } from "../evaluations.js";
import { orderPicture } from "../order.js";
import { imageSide, ImageSampler, type SampledImage } from "../sample.js";
import { parseSeeds } from "../seeds.js";

/**
 * Stage `sample`: a checkpoint in, images out.
 *
 * Reads   checkpoint: config.json, {ema,weights}.safetensors, codec.json, codec.safetensors, checkpoints/
 * Writes  images/<seed>.png, one per seed; grid.png; order.png (blocks in their order); samples.npz (ADM's layout);
 *         where several checkpoints are asked for, that is the newest of them, and each other one is
 *         steps/step-<n>/images/<seed>.png; at other numbers of steps nfe/steps-<n>/images/<seed>.png, of further sets
 *         of seeds repeats/repeat-<n>/images/<seed>.png; of a model with classes labels.json: what each image is of
 *
 * A seed fixes its image, whatever the batch size. What an earlier attempt finished, and is whole, is not made again.
 */
export const stage = defineStage({
  name: "sample",
  summary: "sample images from a checkpoint",
  config: SampleConfig,
  computing,
  inputs: {
    checkpoint: {
      summary: "what export made (weights, config and codec), or a training run",
      stages: ["export", "train", "import"],
      unfinished: true,
    },
  },
  idle: ({ solver }): Record<string, string> =>
    canClip(solver) ? {} : { clip: `with the solver "${solver}", only with ${CLIPPING}` },
  free: ["batchImages"],
  async run(config, inputs, context) {
    const checkpoint = await openTrainedModel(inputs.checkpoint);
    const seeds = parseSeeds(config.seeds);
    const names = await classNamesOf(inputs.checkpoint);
    const classes = chosenClasses(config.classes, checkpoint.model, names);
    const chosen = chosenCheckpoints(checkpoint, config.checkpoints);
    const { final } = checkpoint;
    if (final.step !== checkpoint.steps && chosen.includes(final))
      context.log.warn(
        `this training run has not ended: its newest checkpoint is of step ${final.step} of ${checkpoint.steps}`,
      );
    const make = async (set: ImageSet): Promise<Group> => {
      await makeImages(checkpoint, set, classes, config, context);
      return {
        ...set.about,
        step: set.kept.step,
        folder: set.folder,
        images: set.seeds.length,
        weights: config.weights,
      };
    };
    const main = chosen.at(-1)!;
    const further = furtherSets(main, seeds, config, checkpoint.model);
    const groups = [];
    for (const kept of chosen) {
      const isMain = kept === main;
      const folder = isMain ? "images" : `steps/${kept.name}/images`;
      const about = {
        name: kept.name,
        ...(isMain && further.length > 0 ? nfeOf(config.steps, checkpoint.model) : {}),
      };
      groups.push(await make({ kept, isMain, folder, seeds, steps: config.steps, about }));
    }
    // Before the others: what takes the last group for the newest checkpoint is right.
    const others = [];
    for (const set of further) others.push(await make(set));
    groups.unshift(...others);
    const side = imageSide(checkpoint);
    const labels = classes.length === 0 ? undefined : sampleLabels(classes, seeds, names);
    if (labels && !context.files.has(LABELS)) await context.files.write(LABELS, `${JSON.stringify(labels)}\n`);
    if (config.npz && !context.files.has("samples.npz")) await makeArray(seeds, side, labels, context);
    const { solver, steps } = config;
    return {
      groups,
      solver,
      steps,
      ...evaluationsOf(checkpoint.model, steps),
      seeds: config.seeds,
      images: seeds.length,
      side,
      ...(labels ? classFacts(labels) : {}),
    };
  },
});

/** Images that are made and scored together. */
interface ImageSet {
  readonly kept: KeptWeights;
  /** Whether they are those of the newest checkpoint that the overviews show. */
  readonly isMain: boolean;
  readonly folder: string;
  readonly seeds: readonly number[];
  readonly steps: number;
  /** What facts say of them besides. */
  readonly about: Readonly<Record<string, string | number>> & { readonly name: string };
}

type Group = Readonly<Record<string, string | number>>;

const nfeOf = (steps: number, model: MadformerConfig) => ({ steps, nfe: evaluationsOf(model, steps).nfe });

/** Further images of the newest checkpoint: at other numbers of steps, and from other seeds. */
function furtherSets(
  kept: KeptWeights,
  seeds: readonly number[],
  { steps, otherSteps: other, repeats }: SampleConfig,
  model: MadformerConfig,
): ImageSet[] {
  const ofSteps = otherSteps(other)
    .filter((number) => number !== steps)
    .map((number): ImageSet => {
      const name = `steps-${number}`;
      const about = { name, role: "steps", ...nfeOf(number, model) };
      return { kept, isMain: false, folder: `nfe/${name}/images`, seeds, steps: number, about };
    });
  const next = seeds.reduce((highest, seed) => Math.max(highest, seed), 0) + 1;
  const ofSeeds = Array.from({ length: repeats - 1 }, (_, i): ImageSet => {
    const name = `repeat-${i + 1}`;
    const set = seeds.map((_, at) => next + i * seeds.length + at);
    const about = { name, role: "repeat", ...nfeOf(steps, model) };
    return { kept, isMain: false, folder: `repeats/${name}/images`, seeds: set, steps, about };
  });
  return [...ofSteps, ...ofSeeds];
}

/** What a record of these samples says of their classes. */
function classFacts({ classes }: SampleLabels) {
  const counts = classes.map(({ images }) => images);
  return { classes: classes.length, perClass: { least: Math.min(...counts), most: Math.max(...counts) } };
}

function canClip(solver: SolverName): boolean {
  return solverPlan(solver, 1, { clip: true }).clip;
}

/** Which class each image is of. */
const LABELS = "labels.json";

const CLIPPING = SOLVER_NAMES.filter(canClip)
  .map((name) => `"${name}"`)
  .join(", ");

const fileOf = (folder: string, seed: number): string => `${folder}/${String(seed).padStart(8, "0")}.png`;

/** Makes those images of a checkpoint that are not finished yet; of the main one the overviews too. */
async function makeImages(
  checkpoint: TrainedModel,
  { folder, isMain, kept, seeds, steps, about }: ImageSet,
  classes: readonly number[],
  config: SampleConfig,
  context: StageContext,
): Promise<void> {
  const { files, signal, log } = context;
  const missing = seeds.filter((seed) => !files.has(fileOf(folder, seed)));
  const needsGrid = isMain && !files.has("grid.png");
  const needsOrder = isMain && config.orderImages > 0 && !files.has("order.png");
  if (missing.length === 0 && !needsGrid && !needsOrder) return;

  const weights = await kept.load(config.weights);
  const plan = solverPlan(config.solver, steps, { clip: config.clip });
  const batchImages = Math.min(config.batchImages, Math.max(seeds.length, 1));
  await using sampler = await ImageSampler.create(checkpoint, weights, plan, batchImages, classes);
  const side = imageSide(checkpoint);
  const overview = overviewOf(seeds, classes, config.gridImages);
  const shown = new Set(needsGrid ? overview.seeds : []);
  const ordered = new Set(needsOrder ? seeds.slice(0, config.orderImages) : []);
  const finished = [...ordered].filter((seed) => files.has(fileOf(folder, seed))); // but nothing keeps their latents
  const [pictures, drawn] = [new Map<number, RgbImage>(), new Map<number, SampledImage>()];
  let done = seeds.length - missing.length;
  log.progress("images", done, seeds.length, { checkpoint: about.name });
  for await (const image of sampler.images(byClass([...missing, ...finished], classes), signal)) {
    signal.throwIfAborted();
    const { seed } = image;
    const picture = { pixels: image.pixels.slice(), width: side, height: side };
    if (shown.has(seed)) pictures.set(seed, picture);
    if (ordered.has(seed)) drawn.set(seed, { ...image, latents: image.latents.slice() });
    if (files.has(fileOf(folder, seed))) continue;
    await finishPng(fileOf(folder, seed), picture, context);
    log.progress("images", ++done, seeds.length, { checkpoint: about.name });
  }
  if (needsGrid) {
    const images = await Promise.all(
      [...shown].map(async (seed) => pictures.get(seed) ?? readRgb(await files.path(fileOf(folder, seed)))),
    );
    await finishPng("grid.png", imageGrid(images, overview.columns, 2), context);
  }
  if (!needsOrder) return;
  const images = [...ordered].map((seed) => drawn.get(seed)!);
  await finishPng("order.png", await orderPicture(sampler, checkpoint, images), context);
}

/** Images of a class one after another: its text is then computed once. */
function byClass(seeds: readonly number[], classes: readonly number[]): readonly number[] {
  if (classes.length < 2) return seeds;
  const place = new Map(classes.map((label, i) => [label, i]));
  const placeOf = (seed: number): number => place.get(labelOfSeed(classes, seed)) ?? 0;
  return [...seeds].sort((a, b) => placeOf(a) - placeOf(b));
}

async function finishPng(
  file: string,
  { pixels, width, height }: RgbImage,
  { out, files }: StageContext,
): Promise<void> {
  const temporary = join(out, "tmp", "image.png");
  await writePng(temporary, pixels, width, height);
  await files.add(temporary, file);
}

/**
 * `samples.npz`: arr_0, (images, side, side, 3) uint8, in the order of the seeds, and arr_1, (images) int64, their
 * classes where there are some; one image in memory at a time.
 */
async function makeArray(
  seeds: readonly number[],
  side: number,
  labels: SampleLabels | undefined,
  { out, files }: StageContext,
): Promise<void> {
  async function* pieces(): AsyncGenerator<Uint8Array> {
    for (const seed of seeds) yield (await readRgb(await files.path(fileOf("images", seed)))).pixels;
  }
  const temporary = join(out, "tmp", "samples.npz");
  await writeNpz(temporary, {
    arr_0: { dtype: "uint8", shape: [seeds.length, side, side, 3], pieces },
    ...(labels
      ? {
          arr_1: {
            shape: [seeds.length],
            data: BigInt64Array.from(seeds, (seed) => BigInt(labels.labels[seed] ?? -1)),
          },
        }
      : {}),
  });
  await files.add(temporary, "samples.npz");
}

import { mkdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { encodePng, writePng } from "@madformer/artifacts";
import { emaDecay, learningRateFactor, stepScalars, trainSteps, type FirstState } from "@madformer/optim";
import type { StageContext, StageFiles } from "@madformer/stage";
import { batchOf, type LatentSource } from "./batch.js";
import {
  CHECKPOINT_FILES,
  CheckpointError,
  checkpointSteps,
  readCheckpoint,
  removeWhole,
  writeCheckpoint,
  type Checkpoint,
} from "./checkpoint.js";
import type { TrainConfig } from "./config.js";
import { Journal, journalSteps } from "./journal.js";
import { planOf, stepName, type Plan } from "./plan.js";
import { sampleGrid, type Decode } from "./sample-grid.js";
import { EventWriter } from "./tensorboard.js";
import { firstWeights, measuresOf, trainerOf, type Measured } from "./trainer.js";

/** What a training run has come to. */
export interface Trained {
  readonly step: number;
  /** Checkpoints that were kept, by step. */
  readonly checkpoints: readonly number[];
  /** The last line of `losses.jsonl`. */
  readonly last: LossLine;
}

/** A line of `losses.jsonl`: means over the steps since the line before; the learning rate of this step. */
export type LossLine = Measured & { readonly step: number; readonly lr: number };

/** What a run carries on. */
export interface Start {
  /** Updates that were made before. */
  readonly step: number;
  /** Reads it; called where the run has no checkpoint of its own yet. */
  load(): Promise<FirstState>;
}

/** What the loop carries from step to step besides the weights, and so finds in a checkpoint. */
interface CheckpointNotes {
  /** Steps since the last line, and sums of their measures. */
  readonly window: { readonly steps: number; readonly sums: Measured };
}

/** The loss or its gradients are not finite any more. */
export class DivergedError extends RangeError {
  override readonly name = "DivergedError";

  constructor(
    readonly step: number,
    message: string,
  ) {
    super(message);
  }
}

export const LOSSES = "losses.jsonl";
const gridOf = (step: number): string => `samples/${stepName(step)}.png`;
const filesOf = (step: number): string[] => CHECKPOINT_FILES.map((file) => `checkpoints/${stepName(step)}/${file}`);

/** Milliseconds between two reports of where the run stands. */
const REPORT_MS = 200;

/**
 * The training loop. Writes into `context.out`:
 *
 *     checkpoints/step-0000400/{weights,ema,state}.safetensors     samples/step-0000400.png
 *     losses.jsonl                                                 logs/log.jsonl, logs/tensorboard/
 *
 * and goes on from the newest checkpoint that it finds there whole, with all that a run up to it leaves. Everything but
 * the logs is a function of the config and the data alone: killed anywhere, damaged anywhere, and called again, it
 * leaves the same bytes as if it had not been.
 *
 * @param data Borrowed.
 * @param decode Makes images of latents, for grids of samples; without it there are none.
 * @param start Where it begins; without it, at step 1 with weights that are drawn by the seed.
 * @throws {DivergedError} If a loss or the gradients' norm is not finite. {DataError} If the state is not, when it is
 *   saved.
 * @throws `context.signal.reason` when aborted, after a checkpoint.
 */
export async function train(
  config: TrainConfig,
  data: LatentSource,
  context: StageContext,
  decode?: Decode,
  start?: Start,
): Promise<Trained> {
  const { model, optimizer, accumulate } = config;
  const { files, signal, log } = context;
  const names = measuresOf(config);
  const mapMeasures = (of: (name: keyof Measured) => number): Measured =>
    Object.fromEntries(names.map((name) => [name, of(name)])) as unknown as Measured;
  const empty = { steps: 0, sums: mapMeasures(() => 0) };
  const plan = planOf(config, data.length, start?.step);
  const paths = pathsOf(context.out);
  await rm(paths.tmp, { recursive: true, force: true });
  for (const folder of [paths.tmp, paths.checkpoints, paths.tensorboard]) await mkdir(folder, { recursive: true });

  const found = await findCheckpoint(config, plan, context, decode !== undefined);
  let { step } = found ?? { step: plan.before };
  let { window } = (found?.notes as CheckpointNotes | undefined) ?? { window: empty };
  let saved = step; // the last step with a checkpoint
  if (step > 0) log.info(`going on after step ${step} of ${plan.steps}`);
  await using trainer = await trainerOf(config, found ?? (await start?.load()) ?? firstWeights(config));
  // The last step of a run that was to be shorter has a line that this one has not.
  await using losses = await Journal.open(paths.losses, plan.logs(step) ? step : step - 1);
  await files.keep(LOSSES, step); // with fewer lines, if it goes on from an earlier checkpoint than the last
  await using lines = await Journal.open(paths.log, step);
  await using events = await EventWriter.open(paths.tensorboard, step);

  const save = async (): Promise<void> => {
    if (saved === step) return;
    await losses.sync();
    const notes: CheckpointNotes = { window };
    await writeCheckpoint(paths.checkpoints, paths.tmp, model, { step, notes }, (part, key) => trainer.read(part, key));
    for (const file of filesOf(step)) await files.keep(file);
    await files.keep(LOSSES, step);
    saved = step;
    await prune(paths, files, plan, step);
  };
  const sample = async (): Promise<void> => {
    if (!decode || !plan.samples(step) || (step === found?.step && files.has(gridOf(step)))) return;
    const { sampleImages: images, sampleSolver: solver, sampleSteps: steps } = config;
    const grid = await sampleGrid(model, await trainer.part("ema"), decode, { step, images, solver, steps, signal });
    const temporary = join(paths.tmp, "grid.png");
    await writePng(temporary, grid.pixels, grid.width, grid.height);
    await files.add(temporary, gridOf(step));
    await events.image(step, "samples", await encodePng(grid.pixels, grid.width, grid.height), grid);
  };

  await sample(); // the step of the checkpoint may have been left without one
  const rateOf = (step: number): number =>
    config.learningRate * learningRateFactor(config.schedule, step - 1, plan.steps, model.quirks.warmupStart);
  const speed = new Speed(step, plan.stepImages);
  await trainSteps({
    ...{ done: step, steps: plan.steps, accumulate, signal },
    batch: (run) => batchOf(data, model, config, run),
    scalars: (step) => stepScalars(optimizer, step, rateOf(step), emaDecay(config.ema, step)),
    run: (batch, scalars) => trainer.run(batch, scalars),
    diverged: (step, name, value) => diverged(name, value, step, saved > plan.before ? saved : 0, paths.checkpoints),
    after: async (done, measures) => {
      step = done;
      window = {
        steps: window.steps + 1,
        sums: mapMeasures((name) => (window.sums[name] ?? 0) + (measures[name] ?? NaN)),
      };
      speed.count(step);
      if (plan.logs(step)) {
        const means = mapMeasures((name) => (window.sums[name] ?? NaN) / window.steps);
        const line: LossLine = { step, ...means, lr: rateOf(step) };
        if (step % config.logEvery === 0) window = empty; // not after the last step: a longer run has no line there
        const speeds = speed.sinceLast();
        await losses.append(line);
        await lines.append({ time: new Date().toISOString(), ...line, ...speeds });
        await events.scalars(step, scalarsOf(line, speeds));
      }
      if (plan.saves(step)) await save();
      await sample();
      if (speed.due(REPORT_MS) || step === plan.steps)
        log.progress("steps", step, plan.steps, details(measures, rateOf(step), speed));
    },
    stopped: save,
  });
  await prune(paths, files, plan, step);
  return { step, checkpoints: plan.kept(step), last: await lastLine(paths.losses) };
}

type Paths = ReturnType<typeof pathsOf>;

function pathsOf(out: string) {
  return {
    checkpoints: join(out, "checkpoints"),
    losses: join(out, LOSSES),
    log: join(out, "logs", "log.jsonl"),
    tensorboard: join(out, "logs", "tensorboard"),
    tmp: join(out, "tmp", "train"),
  };
}

/** The newest checkpoint that is whole and whose run left everything behind that it should have. Others are removed. */
async function findCheckpoint(
  config: TrainConfig,
  plan: Plan,
  { out, files, log }: StageContext,
  withSamples: boolean,
): Promise<Checkpoint | undefined> {
  const paths = pathsOf(out);
  const steps = await checkpointSteps(paths.checkpoints);
  for (const step of steps.reverse()) {
    try {
      if (step > plan.steps || step <= plan.before)
        throw new CheckpointError(
          `Cannot go on from ${stepName(step)}: the run goes from step ${plan.before + 1} to ${plan.steps}`,
        );
      const missing = await firstMissing(plan, files, step, withSamples);
      if (missing !== undefined)
        throw new CheckpointError(`Cannot go on from ${stepName(step)}: ${missing} is missing or damaged`);
      return await readCheckpoint(paths.checkpoints, config.model, step);
    } catch (error) {
      if (!(error instanceof CheckpointError)) throw error;
      log.warn(`${error.message}; trying the one before`);
      await removeCheckpoint(paths, files, step);
    }
  }
  if (steps.length > 0) log.warn(`no checkpoint can be used; starting again at step ${plan.before + 1}`);
  return undefined;
}

/** What a run up to a checkpoint leaves behind, the checkpoint itself among it, and is not there whole. */
async function firstMissing(
  plan: Plan,
  files: StageFiles,
  step: number,
  withSamples: boolean,
): Promise<string | undefined> {
  for (const kept of [...plan.kept(plan.steps).filter((kept) => kept < step), step])
    for (const file of filesOf(kept)) if (!files.has(file)) return file;
  // Its note says up to which step it is whole, in whichever steps it had lines; one of an older version has none.
  const noted = files.has(LOSSES) ? files.note(LOSSES) : undefined;
  if (typeof noted === "number" && noted < step) return `lines after step ${noted} in ${LOSSES}`;
  const logged = new Set(files.has(LOSSES) ? await journalSteps(await files.path(LOSSES)) : []);
  for (let k = plan.before + 1; k <= step; k++) {
    if (noted === undefined && plan.logs(k) && !logged.has(k)) return `the line of step ${k} in ${LOSSES}`;
    const sampled = withSamples && k < step && plan.samples(k); // that of the step itself is made now
    if (sampled && !files.has(gridOf(k))) return gridOf(k);
  }
  return undefined;
}

/** The last line of losses: a run that has ended has one of its last step. */
async function lastLine(path: string): Promise<LossLine> {
  const line = (await readFile(path, "utf8")).trimEnd().split("\n").at(-1) as string;
  return JSON.parse(line) as LossLine;
}

/** Removes the checkpoints that are not to be kept once there is one of `step`. */
async function prune(paths: Paths, files: StageFiles, plan: Plan, step: number): Promise<void> {
  const kept = new Set([...plan.kept(step), step]);
  for (const other of await checkpointSteps(paths.checkpoints))
    if (!kept.has(other)) await removeCheckpoint(paths, files, other);
}

async function removeCheckpoint({ checkpoints, tmp }: Paths, files: StageFiles, step: number): Promise<void> {
  for (const file of filesOf(step)) await files.drop(file);
  await removeWhole(join(checkpoints, stepName(step)), tmp);
}

function diverged(name: string, value: number, step: number, saved: number, checkpoints: string): DivergedError {
  const good =
    saved > 0
      ? `the last good checkpoint is ${JSON.stringify(join(checkpoints, stepName(saved)))}`
      : "there is no checkpoint yet";
  const what = name === "gradNorm" ? "the norm of the gradients" : name === "loss" ? "the loss" : `the ${name} loss`;
  return new DivergedError(
    step,
    `Cannot go on training at step ${step}: ${what} is ${value}, expected a finite number; ${good}. A lower learning rate may help`,
  );
}

/** How fast steps follow each other. */
class Speed {
  private logged: { step: number; at: number };
  private reported = -Infinity;
  private readonly recent: { step: number; at: number }[];

  constructor(
    private step: number,
    private readonly stepImages: number,
  ) {
    this.logged = { step, at: performance.now() };
    this.recent = [this.logged];
  }

  count(step: number): void {
    this.step = step;
    this.recent.push({ step, at: performance.now() });
    if (this.recent.length > 20) this.recent.shift();
  }

  /** Whether this much time has passed since it was last asked and said so. */
  due(ms: number): boolean {
    const now = performance.now();
    if (now - this.reported < ms) return false;
    this.reported = now;
    return true;
  }

  /** Of the last steps. */
  now() {
    return this.since(this.recent[0] as { step: number; at: number });
  }

  /** Since this was last asked. */
  sinceLast() {
    const speeds = this.since(this.logged);
    this.logged = { step: this.step, at: performance.now() };
    return speeds;
  }

  private since({ step, at }: { step: number; at: number }) {
    const stepsPerSecond = (this.step - step) / Math.max((performance.now() - at) / 1000, 1e-6);
    return { stepsPerSecond, imagesPerSecond: stepsPerSecond * this.stepImages };
  }
}

function details(measures: Measured, learningRate: number, speed: Speed): Record<string, string> {
  const { stepsPerSecond, imagesPerSecond } = speed.now();
  return {
    "steps/s": stepsPerSecond.toPrecision(3),
    "images/s": imagesPerSecond.toPrecision(3),
    loss: measures.loss.toFixed(4),
    lr: learningRate.toExponential(2),
    "grad norm": measures.gradNorm.toPrecision(3),
  };
}

/** What TensorBoard shows of a line, by tag. */
function scalarsOf(
  line: LossLine,
  { stepsPerSecond, imagesPerSecond }: ReturnType<Speed["now"]>,
): Record<string, number> {
  return {
    ...{ "loss/total": line.loss, "loss/image": line.image, "loss/hidden": line.hidden, "loss/clean": line.clean },
    ...(line.text === undefined ? {} : { "loss/text": line.text }),
    ...{ "optimizer/gradient_norm": line.gradNorm, "optimizer/learning_rate": line.lr },
    ...{ "speed/steps_per_second": stepsPerSecond, "speed/images_per_second": imagesPerSecond },
  };
}

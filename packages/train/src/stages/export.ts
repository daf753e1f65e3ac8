import { constants } from "node:fs";
import { copyFile, mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import {
  DataError,
  digestFile,
  openSafetensors,
  readAllWeights,
  reasonOf,
  writeTorchCheckpoint,
  type Artifact,
} from "@madformer/artifacts";
import { computing } from "@madformer/engine";
import {
  codecConfig,
  fromStateDict,
  madformerSpecs,
  parameterCount,
  pixelsPerLatent,
  SOLVER_NAMES,
  torchFileOf,
  trainedConfig,
  unlikeReference,
} from "@madformer/model";
import { defineStage, type StageFiles } from "@madformer/stage";
import { z } from "zod";
import { MAX_PROGRAM_BYTES, saveSamplerPrograms } from "../export-programs.js";
import { torchCheckpoint } from "../export-torch.js";
import { TrainConfig } from "../config.js";
import { stepName } from "../plan.js";

export const ExportConfig = z
  .strictObject({
    torch: z
      .boolean()
      .default(true)
      .describe(
        "Write checkpoint.pt, which the reference's PyTorch programs load; checkpoint.sound.pt for a model with other switches " +
          "than theirs, which they load too and compute something else with",
      ),
    programs: z
      .boolean()
      .default(true)
      .describe("Write the sampler's programs as programs/*.onnx, with the averaged weights in them"),
    programImages: z.int().positive().default(1).describe("Images that the programs generate together"),
    sampleSolver: z.enum(SOLVER_NAMES).default(SOLVER_NAMES[0]).describe("The solver that they are for"),
    sampleSteps: z.int().positive().default(25).describe("Steps of the solver that programs/tables.safetensors is for"),
  })
  .readonly();
export type ExportConfig = z.infer<typeof ExportConfig>;

/** What the programs take as inputs; the note about it names them. */
const TABLES = "programs/tables.safetensors";

const Training = z.looseObject({ images: z.int().positive() });

/**
 * Stage `export`: what training made in, files that others read out.
 *
 * Reads   train: config.json, codec.json, codec.safetensors, checkpoints/step-*
 * Writes  config.json, codec.json, codec.safetensors, classes.json: as they were
 *         weights.safetensors, ema.safetensors: of the last step, by the reference's keys
 *         checkpoints/step-*\/{weights,ema}.safetensors: of every kept checkpoint, the last one included
 *         checkpoint.pt: the reference's layout; checkpoint.sound.pt in its place for a model with other switches
 *         than the released code's, with a warning: there it loads as well, and computes something else
 *         programs/*.onnx, programs/tables.safetensors: the sampler
 *
 * What an earlier attempt finished is not made again.
 */
export const stage = defineStage({
  name: "export",
  summary: "Write a trained model as safetensors, PyTorch checkpoint and ONNX programs",
  config: ExportConfig,
  computing,
  inputs: { train: { summary: "A training run (stage train)", stages: ["train"] } },
  idle({ programs }): Record<string, string> {
    const why = "without programs";
    return programs ? {} : { programImages: why, sampleSolver: why, sampleSteps: why };
  },
  run: async (config, { train }, { out, files, signal, log }) => {
    const { training, images, step } = await readConfig(train);
    const { model } = training;
    const steps = train.files
      .flatMap((file) => /^checkpoints\/step-(\d{7,})\/weights\.safetensors$/.exec(file)?.[1] ?? [])
      .map(Number)
      .sort((a, b) => a - b);
    if (steps.at(-1) !== step)
      throw new DataError(
        `Cannot export: the newest checkpoint is of step ${steps.at(-1) ?? "none"}, expected that of the last step, ${step}`,
      );

    const tmp = join(out, "tmp", "export");
    await mkdir(tmp, { recursive: true });
    const put = async (from: string, to: string): Promise<void> => {
      signal.throwIfAborted();
      if (files.has(to)) return;
      if (from === to && from.endsWith(".safetensors")) await checkWeights(await train.path(from)); // once each
      await copyFile(await train.path(from), join(tmp, "file"), constants.COPYFILE_FICLONE);
      await files.add(join(tmp, "file"), to);
    };
    for (const file of ["codec.json", "codec.safetensors", "config.json"]) await put(file, file);
    if (train.files.includes("classes.json")) await put("classes.json", "classes.json");
    for (const kept of steps)
      for (const part of ["weights.safetensors", "ema.safetensors"])
        await put(`checkpoints/${stepName(kept)}/${part}`, `checkpoints/${stepName(kept)}/${part}`);
    const last = `checkpoints/${stepName(step)}`;
    for (const part of ["weights.safetensors", "ema.safetensors"]) await put(`${last}/${part}`, part);

    const codec = codecConfig(JSON.parse(await readFile(await train.path("codec.json"), "utf8")));
    const torchFile = torchFileOf(model);
    if (config.torch && !files.has(torchFile)) {
      log.info(`writing ${torchFile}`);
      if (torchFile !== "checkpoint.pt")
        log.warn(
          `${torchFile} is not for the released code: it loads there with all keys matched, and then computes something else ` +
            `(${unlikeReference(model).join("; ")}); the file's args say so too`,
        );
      await using weights = await openSafetensors(await train.path(`${last}/weights.safetensors`));
      await using ema = await openSafetensors(await train.path(`${last}/ema.safetensors`));
      await using state = await openSafetensors(await train.path(`${last}/state.safetensors`));
      const run = { config: training, step, images, pixelsPerLatent: pixelsPerLatent(codec) };
      await writeTorchCheckpoint(join(tmp, torchFile), torchCheckpoint(run, { weights, ema, state }));
      await files.add(join(tmp, torchFile), torchFile);
    }
    signal.throwIfAborted();

    const parameters = parameterCount(madformerSpecs(model));
    let programs = config.programs ? finishedPrograms(files) : [];
    if (!programs && 4 * parameters > MAX_PROGRAM_BYTES)
      log.warn(`no programs/*.onnx: ${parameters} parameters are more than the 2 GiB that an .onnx file holds`);
    else if (!programs) {
      log.info("writing the sampler's programs");
      const weights = fromStateDict(
        madformerSpecs(model),
        await readAllWeights(await train.path(`${last}/ema.safetensors`)),
      );
      const options = { images: config.programImages, solver: config.sampleSolver, steps: config.sampleSteps, signal };
      programs = await saveSamplerPrograms(model, weights, options, tmp);
      for (const name of programs) await files.add(join(tmp, `${name}.onnx`), `programs/${name}.onnx`);
      await files.add(join(tmp, "tables.safetensors"), TABLES, programs); // last
    }
    return {
      step,
      checkpoints: steps,
      parameters,
      weightsDigest: (await digestFile(await files.path("weights.safetensors"))).sha256,
      emaDigest: (await digestFile(await files.path("ema.safetensors"))).sha256,
      programs: programs ?? [],
      ...(config.torch ? { torch: torchFile } : {}),
    };
  },
});

/** @throws {FormatError} If a weight is not finite. */
async function checkWeights(path: string): Promise<void> {
  await using file = await openSafetensors(path);
  for (const name of file.names) await file.readWeights(name);
}

/** Names of the programs, if an earlier attempt finished all of them. */
function finishedPrograms(files: StageFiles): string[] | undefined {
  const names = files.has(TABLES) ? z.array(z.string()).safeParse(files.note(TABLES)).data : undefined;
  return names?.every((name) => files.has(`programs/${name}.onnx`)) ? names : undefined;
}

/** @throws {DataError} If config.json is not one that training wrote. */
async function readConfig(train: Artifact): Promise<{ training: TrainConfig; images: number; step: number }> {
  const path = await train.path("config.json");
  try {
    const { model, training, step } = trainedConfig(JSON.parse(await readFile(path, "utf8")));
    const { images, ...rest } = Training.parse(training);
    return { training: TrainConfig.parse({ ...rest, model }), images, step };
  } catch (cause) {
    throw new DataError(`Cannot export: config.json of the training run is not valid: ${reasonOf(cause)}`, { cause });
  }
}

import { join } from "node:path";
import { canonicalJson, openSafetensors, sha256, writeSafetensors, type TensorInput } from "@madformer/artifacts";
import { compile, NonFiniteError, type SessionOptions } from "@madformer/engine";
import type { StageContext } from "@madformer/stage";
import { rateShare, type FacesNetConfig } from "./config.js";
import { arraysOf, batchOf, type FacesData, type Split } from "./data.js";
import { sizeOf, type FacesNet, type FacesNetDescription } from "./file.js";
import { initialWeights } from "./network.js";
import { facesNetSignature, facesNetStep, finishedWeights, stepScalars } from "./train-step.js";

/** Where the state of a training is, until what it made is finished. */
export const STATE_FILE = "tmp/state.safetensors";

export interface TrainOptions {
  /** The stage's folder and files: the state is kept there from time to time, and found again. */
  readonly place: Pick<StageContext, "out" | "files">;
  /** When it is aborted the state is kept, then its reason thrown. */
  readonly signal: AbortSignal;
  readonly progress?: (step: number, loss: number) => void;
  /** Called with the step that a kept state goes on from. */
  readonly resumed?: (step: number) => void;
  readonly session?: SessionOptions;
}

/** A trained network, and the loss of each step. */
export interface Trained {
  readonly net: FacesNet;
  readonly losses: Float32Array;
}

/**
 * Trains the network. Images and rate of a step are functions of the config and the step alone, and the state is kept
 * whole, so that a run that was cut off anywhere goes on to the same weights, bit for bit. It is the caller's to
 * remove.
 *
 * @throws {Error} If the loss is no longer finite, with the step.
 */
export async function trainFacesNet(
  config: FacesNetConfig,
  data: FacesData,
  split: Split,
  options: TrainOptions,
): Promise<Trained> {
  const { out, files } = options.place;
  const { labels, sidePixels } = data;
  const { dims, steps, batchImages, seed } = config;
  const description: FacesNetDescription = { format: 1, kind: "faces-net", sidePixels, dims, labels: [...labels] };
  const size = sizeOf(description);
  const identity = sha256(canonicalJson({ config, description, pixels: sha256(data.pixels) }));

  await using program = await compile(facesNetStep(size, labels), facesNetSignature(size, batchImages), {
    name: "faces-net-training",
    initialState: { weights: initialWeights(size, seed) },
    checkFinite: "all",
    ...(options.session === undefined ? {} : { session: options.session }),
  });
  const losses = new Float32Array(steps);

  const keep = async (step: number): Promise<void> => {
    const state: Record<string, TensorInput> = {};
    for (const { name, shape } of program.state.fields)
      state[name] = { shape, data: (await program.state.read(name)) as Float32Array };
    const temporary = join(out, "tmp", "next.safetensors");
    await writeSafetensors(
      temporary,
      { ...state, losses: { shape: [step], data: losses.subarray(0, step) } },
      { step: String(step), identity },
    );
    await files.add(temporary, STATE_FILE);
  };
  const resume = async (): Promise<number> => {
    if (!files.has(STATE_FILE)) return 0;
    await using file = await openSafetensors(await files.path(STATE_FILE));
    if (file.metadata["identity"] !== identity) return 0; // of other images or another config
    for (const { name } of program.state.fields) await program.state.write(name, await file.readWeights(name));
    losses.set(await file.readWeights("losses"));
    return Number(file.metadata["step"]);
  };

  const first = await resume();
  if (first > 0) options.resumed?.(first);
  for (let step = first; step < steps; step++) {
    const batch = arraysOf(data, batchOf(split.train, batchImages, seed, step));
    const rate = config.learningRate * rateShare(step, steps);
    try {
      const { loss } = await program.run({ ...batch, scalars: stepScalars(step + 1, rate, config.weightDecay) });
      losses[step] = loss[0]!;
    } catch (cause) {
      if (!(cause instanceof NonFiniteError)) throw cause;
      throw new Error(
        `Cannot train the network: ${cause.tensor} is no longer finite at step ${step + 1} of ${steps}, at a learning rate of ${rate}`,
        { cause },
      );
    }
    options.progress?.(step + 1, losses[step]!);
    const stopped = options.signal.aborted;
    if (stopped || ((step + 1) % config.checkpointSteps === 0 && step + 1 < steps)) await keep(step + 1);
    if (stopped) options.signal.throwIfAborted();
  }

  const { weights, running } = await program.state.readAll();
  return { net: { description, weights: finishedWeights(dims, weights, running) }, losses };
}

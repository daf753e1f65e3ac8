/**
 * What is looked at on a machine with a GPU that needs the network: `tools/gpu/check.sh` bundles it. Sizes are those of
 * the paper's 1.3 billion parameters, or tiny ones to try it.
 */
import { compile } from "@madformer/engine";
import type { Graph } from "@madformer/engine";
import {
  dpmSolver,
  geometryOf,
  LossConfig,
  madformerSpecs,
  OptimizerConfig,
  parameterCount,
  Sampler,
  stepScalars,
  trainSignature,
  trainStep,
} from "../src/index.js";
import { benchOf, benchSize, type Bench } from "./config.js";

/** What the engine's own steps have, and these use. */
export interface Tools {
  readonly tell: (finding: { readonly what: string; value: number | string; unit?: string; ok?: boolean }) => void;
  readonly values: (count: number, scale: number, seed?: number) => Float32Array;
  readonly secondsOf: (run: () => Promise<unknown>, runs: number) => Promise<number>;
  readonly flopsOf: (graph: Graph | undefined) => number;
  readonly peakGib: () => number | undefined;
  readonly bytesOf: (program: object) => number | undefined;
}

const engine = "xla";
const precision = "bf16";

/** The reference's own sizes (docs/reference.md, section 1). */
const PAPER = {
  ...{ hidden: 1152, heads: 18, depth: 28, diff_depth: 14, blocks: 16, block_latent: 32, mlp: 4096 },
  ...{ unet_channels: [512, 1024], unet_groups: 32, unet_heads: 16, unet_time_emb: 128 },
};

function benchOfSize(size: "tiny" | "full", batch: number): Bench {
  const tiny = benchSize("tiny");
  return size === "full" ? benchOf({ ...PAPER, batch }) : { ...tiny, batch, sampleBatch: batch, sampleSteps: 2 };
}

/** Parameters that nobody trained: small numbers, made quickly. */
function parametersOf({ model }: Bench, { values }: Tools): Record<string, Float32Array> {
  const sizes = Object.entries(madformerSpecs(model)).map(([key, { shape }]) => [key, product(shape)] as const);
  const all = values(sizes.reduce((sum, [, size]) => sum + size, 0), 0.03); // prettier-ignore
  let at = 0;
  return Object.fromEntries(sizes.map(([key, size]) => [key, all.subarray(at, (at += size))]));
}

/** Training steps: forward, backward, clipping, AdamW, average. */
export async function training(size: "tiny" | "full", batch: number, tools: Tools): Promise<void> {
  const { tell } = tools;
  const bench = benchOfSize(size, batch);
  const { model } = bench;
  const params = parametersOf(bench, tools);
  tell({ what: "parameters", value: parameterCount(madformerSpecs(model)) });
  const optimizer = OptimizerConfig.parse({});
  const start = performance.now();
  await using program = await compile(
    trainStep(model, LossConfig.parse({}), optimizer),
    trainSignature(model, batch),
    { name: "train", engine, precision, initialState: { params, ema: params } },
  ); // prettier-ignore
  const name = `xla training step, batch ${batch}`;
  tell({ what: `${name}, ready after`, value: (performance.now() - start) / 1e3, unit: "s" });
  const bytes = tools.bytesOf(program);
  if (bytes !== undefined) tell({ what: `${name}, memory known before`, value: bytes / 2 ** 30, unit: "GiB" });
  const { T, P } = geometryOf(model);
  const count = batch * T * P * model.latentChannels;
  const [latents, noise] = [tools.values(count, 1.7, 2), tools.values(count, 1.7, 3)];
  const t = Int32Array.from({ length: batch * T }, (_, i) => (i * 37) % 1000);
  let step = 0;
  let loss = NaN;
  const run = async (): Promise<void> => {
    const outputs = await program.run({ latents, noise, t, scalars: stepScalars(optimizer, ++step, 1e-5, 0.9999) });
    loss = outputs.loss[0] ?? NaN;
  };
  const seconds = await tools.secondsOf(run, size === "full" ? 5 : 2);
  tell({ what: name, value: seconds * 1e3, unit: "ms" });
  tell({ what: name, value: tools.flopsOf(program.graph) / seconds / 1e12, unit: "TFLOP/s" });
  tell({ what: `${name}, loss is a number`, value: loss, ok: Number.isFinite(loss) });
  const peak = tools.peakGib();
  if (peak !== undefined) tell({ what: `${name}, peak memory`, value: peak, unit: "GiB" });
}

/** Images from noise, with the cache of keys and values. */
export async function sampling(size: "tiny" | "full", batch: number, tools: Tools): Promise<void> {
  const { tell } = tools;
  process.env["MADFORMER_PRECISION"] = precision; // a sampler takes what its stage was told
  const bench = benchOfSize(size, batch);
  const { model, sampleSteps } = bench;
  const options = { batchImages: batch, engine, programs: "shared" } as const;
  const start = performance.now();
  await using sampler = await Sampler.create(model, parametersOf(bench, tools), options);
  const { T, P } = geometryOf(model);
  const noise = tools.values(batch * T * P * model.latentChannels, 1.7);
  const plan = dpmSolver(sampleSteps);
  await sampler.sample(plan, noise);
  const name = `xla sampling, batch ${batch}, ${sampleSteps} steps`;
  tell({ what: `${name}, first, with compiling`, value: (performance.now() - start) / 1e3, unit: "s" });
  const again = performance.now();
  const latents = await sampler.sample(plan, noise);
  tell({ what: name, value: (performance.now() - again) / 1e3, unit: "s" });
  tell({ what: `${name}, all numbers`, value: latents.length, ok: latents.every(Number.isFinite) });
  const peak = tools.peakGib();
  if (peak !== undefined) tell({ what: `${name}, peak memory`, value: peak, unit: "GiB" });
}

const product = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/**
 * `npm run bench -- model [--config FILE] [--json] [--only KIND,...] [--rounds N] [--threads N] [--profile]`
 *
 * One figure per line: a training step, sampling, encoding and decoding an image, and the machine's rate of matrix
 * products, so that figures of different machines can be compared.
 */
import { readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { compile, normal, randomKey, type Program, summarize, type SessionOptions } from "@madformer/engine";
import {
  codecConfig,
  codecSpecs,
  compileCodecDecoder,
  compileCodecEncoder,
  dpmSolver,
  geometryOf,
  initialize,
  LossConfig,
  madformerSpecs,
  OptimizerConfig,
  parameterCount,
  Sampler,
  stepScalars,
  trainSignature,
  trainStep,
} from "../src/index.js";
import { benchConfig, type Bench } from "./config.js";
import { gemmRate } from "./gemm.js";
import { medianSeconds } from "./measure.js";
import { printProfile } from "./profile.js";

const { values: options } = parseArgs({
  options: {
    config: { type: "string" },
    json: { type: "boolean", default: false },
    only: { type: "string" },
    rounds: { type: "string", default: "7" },
    threads: { type: "string", default: "2" },
    profile: { type: "boolean", default: false },
    help: { type: "boolean", short: "h", default: false },
  },
});
const rounds = Number(options.rounds);
const threads = Number(options.threads);

/** The published autoencoder of Stable Diffusion, whose settings are the defaults. */
const PUBLISHED = codecConfig({
  kind: "autoencoder-kl",
  config: {},
  scale: { mean: [0, 0, 0, 0], std: [1, 1, 1, 1] },
});

type Row = { kind: string } & Record<string, number | string>;

const profilePrefix = join(tmpdir(), `madformer-profile-${process.pid}`);
const session: SessionOptions = { threads, ...(options.profile ? { profilePrefix } : {}) };

const random = (purpose: string, size: number): Float32Array => normal(randomKey(0, purpose), { size });
const round = (x: number): number => Number(x.toPrecision(4));

const FIGURES: Readonly<Record<string, (bench: Bench) => Promise<Omit<Row, "kind">>>> = {
  async gemm() {
    const { gflops, side, median_s } = await gemmRate(threads);
    return { median_s: round(median_s), gflops: round(gflops), side };
  },

  async train({ model, batch }) {
    const [loss, optimizer] = [LossConfig.parse({}), OptimizerConfig.parse({})];
    const params = initialize(madformerSpecs(model), 0);
    const start = performance.now();
    const program = await compile(trainStep(model, loss, optimizer), trainSignature(model, batch), {
      name: "train",
      initialState: { params, ema: params },
      session,
    });
    const compile_s = (performance.now() - start) / 1000;
    const { T, P } = geometryOf(model);
    const size = batch * T * P * model.latentChannels;
    const [latents, noise] = [random("latents", size), random("noise", size)];
    const t = Int32Array.from({ length: batch * T }, (_, i) => (i * 37) % 1000);
    let step = 0;
    const run = () => program.run({ latents, noise, t, scalars: stepScalars(optimizer, ++step, 3e-4, 0.9999) });
    const median_s = await medianSeconds(run, rounds);
    const { nodes = 0, flops = 0 } = program.graph ? summarize(program.graph) : {};
    await profiled(program);
    await program.dispose();
    return {
      median_s: round(median_s),
      images_per_s: round(batch / median_s),
      batch,
      parameters: parameterCount(madformerSpecs(model)),
      compile_s: round(compile_s),
      nodes,
      gflop: round(flops / 1e9),
      gflops: round(flops / 1e9 / median_s),
    };
  },

  async sample({ model, sampleBatch: batch, sampleSteps: steps }) {
    const weights = initialize(madformerSpecs(model), 0);
    const { T, P } = geometryOf(model);
    await using sampler = await Sampler.create(model, weights, { batchImages: batch, session: { threads } });
    const noise = random("noise", batch * T * P * model.latentChannels);
    const plan = dpmSolver(steps);
    const start = performance.now();
    await sampler.sample(plan, noise);
    const first_s = (performance.now() - start) / 1000;
    const median_s = await medianSeconds(() => sampler.sample(plan, noise), rounds);
    return {
      median_s: round(median_s),
      images_per_s: round(batch / median_s),
      batch,
      steps,
      nfe: steps * T,
      first_s: round(first_s),
    };
  },

  async vae_encode() {
    const weights = initialize(codecSpecs(PUBLISHED), 0);
    const { program } = await compileCodecEncoder(PUBLISHED, weights, { batchImages: 1, side: 256, session });
    const images = random("image", 256 * 256 * 3);
    const median_s = await medianSeconds(() => program.run({ images }), rounds);
    await profiled(program);
    await program.dispose();
    return { median_s: round(median_s), images_per_s: round(1 / median_s), side: 256 };
  },

  async vae_decode() {
    const weights = initialize(codecSpecs(PUBLISHED), 0);
    const { program } = await compileCodecDecoder(PUBLISHED, weights, { batchImages: 1, side: 256, session });
    const latents = random("latents", 32 * 32 * 4);
    const median_s = await medianSeconds(() => program.run({ latents }), rounds);
    await profiled(program);
    await program.dispose();
    return { median_s: round(median_s), images_per_s: round(1 / median_s), side: 256 };
  },
};

/** Prints where the time of a program went, if that was asked for. */
async function profiled(program: Pick<Program, "endProfiling">): Promise<void> {
  if (!options.profile) return;
  const path = program.endProfiling();
  printProfile(JSON.parse(readFileSync(path, "utf8")) as Parameters<typeof printProfile>[0], (line) =>
    console.error(line),
  );
  rmSync(path);
}

function help(): void {
  console.log(`npm run bench -- model [options]

  --config FILE    JSON: hidden heads depth diff_depth blocks block_latent mlp unet_channels batch, and optionally
                   unet_layers unet_transformer_layers unet_groups unet_heads unet_time_emb sample_steps sample_batch
  --json           One JSON object per line
  --only KINDS     Some of ${Object.keys(FIGURES).join(",")}
  --rounds N       Runs of which the median is taken (7)
  --threads N      Threads of an operation (2)
  --profile        Say on stderr where the time goes, by operation`);
}

if (options.help) {
  help();
} else {
  const only = options.only?.split(",");
  const bench = benchConfig(options.config);
  for (const [kind, figure] of Object.entries(FIGURES)) {
    if (only && !only.includes(kind)) continue;
    const row: Row = { kind, ...(await figure(bench)) };
    if (options.json) console.log(JSON.stringify(row));
    else {
      const { kind, median_s, ...others } = row;
      const rest = Object.entries(others).map(([name, value]) => `${name} ${value}`);
      console.log(`${kind.padEnd(12)} ${String(median_s).padStart(9)} s   ${rest.join(", ")}`);
    }
    (globalThis as { gc?: () => void }).gc?.();
  }
}

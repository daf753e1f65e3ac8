import { type Artifact, DataError } from "@madformer/artifacts";
import type { Inputs } from "@madformer/stage";
import type { ReportConfig } from "./config.js";
import { INPUTS, type StageName } from "./inputs.js";
import { readClasses, type SampledClasses } from "./read/classes.js";
import { readExamples, type Example } from "./read/examples.js";
import {
  CodecFacts,
  ExportFacts,
  FeatureFacts,
  ImageFacts,
  LatentFacts,
  mainGroup,
  readFacts,
  SampleFacts,
  ScoreFacts,
} from "./read/facts.js";
import { readLosses, type LossTable } from "./read/losses.js";
import { readPicture, type Picture } from "./read/pictures.js";
import { traceLineage, type Lineage } from "./lineage/lineage.js";

/** A sample, under the seed that fixes it. */
export interface Sample {
  readonly seed: string;
  readonly picture: Picture;
}

/** Everything the page is about, read and checked: what renders it opens no file. */
export interface Run {
  readonly artifacts: ReadonlyMap<StageName, Artifact>;
  readonly lineage: Lineage;
  readonly score: ScoreFacts | undefined;
  /** Of the network whose features were compared. */
  readonly features: FeatureFacts | undefined;
  readonly sampler: SampleFacts | undefined;
  readonly exported: ExportFacts | undefined;
  readonly data: ImageFacts | undefined;
  readonly codec: CodecFacts | undefined;
  readonly latents: LatentFacts | undefined;
  readonly samples: readonly Sample[];
  /** Samples by class, of a model that is told one. */
  readonly classes: SampledClasses | undefined;
  /** Blocks appearing in order. */
  readonly order: Picture | undefined;
  /** Sample grids of the training, and how many there were to choose from. */
  readonly film: { readonly frames: readonly Frame[]; readonly of: number };
  readonly examples: readonly Example[];
  readonly reconstructions: Picture | undefined;
  readonly losses: ReadonlyMap<"train" | "vae" | "net", LossTable>;
}

export interface Frame {
  readonly step: number;
  readonly picture: Picture;
}

/**
 * Reads what the page shows from the artifacts.
 *
 * @throws {DataError} If there is no artifact at all, or one holds what its stage would not write.
 */
export async function readRun(
  inputs: Partial<Inputs<typeof INPUTS>>,
  config: ReportConfig,
  signal: AbortSignal = new AbortController().signal,
): Promise<Run> {
  const names = Object.keys(INPUTS) as StageName[];
  const artifacts = new Map(names.flatMap((name) => (inputs[name] ? [[name, inputs[name]] as const] : [])));
  if (artifacts.size === 0)
    throw new DataError(`Cannot write a report about nothing: expected at least one of ${names.join(", ")}`);
  const { train, vae, net, sample, shards } = inputs;

  const losses = new Map<"train" | "vae" | "net", LossTable>();
  for (const [name, artifact] of [
    ["train", train],
    ["vae", vae],
    ["net", net],
  ] as const) {
    const table = artifact && (await readLosses(artifact));
    if (table && table.steps.length > 0) losses.set(name, table);
    signal.throwIfAborted();
  }
  const facts = <T>(name: StageName, read: (artifact: Artifact) => T): T | undefined => {
    const artifact = artifacts.get(name);
    return artifact && read(artifact);
  };
  const run = {
    score: facts("score", (a) => readFacts(ScoreFacts, a)),
    features:
      facts("features", (a) => readFacts(FeatureFacts, a)) ?? facts("reference", (a) => readFacts(FeatureFacts, a)),
    sampler: facts("sample", (a) => readFacts(SampleFacts, a)),
    exported: facts("export", (a) => readFacts(ExportFacts, a)),
    data: facts("shards", (a) => readFacts(ImageFacts, a)) ?? facts("dataset", (a) => readFacts(ImageFacts, a)),
    codec: facts("vae", (a) => readFacts(CodecFacts, a)),
    latents: facts("latents", (a) => readFacts(LatentFacts, a)),
  };
  checkName(run.score, run.features);
  return {
    ...run,
    artifacts,
    losses,
    lineage: traceLineage(artifacts),
    samples: sample ? await readSamples(sample, run.sampler, config, signal) : [],
    classes: sample && (await readClasses(sample, inputs.classes, config.maxSide, signal)),
    order: await pictureIfThere(sample, "order.png", config),
    film: train ? await readFilm(train, config, signal) : { frames: [], of: 0 },
    examples: shards ? await readExamples(shards, config.examples, config.maxTileSide, signal) : [],
    reconstructions: await pictureIfThere(vae, "reconstructions.png", config),
  };
}

/** FID is a distance of Inception's features; the same distance of other features is another number. */
function checkName(score: ScoreFacts | undefined, features: FeatureFacts | undefined): void {
  if (score && features && /\bFID\b/i.test(score.metric) && features.network !== "inception")
    throw new DataError(
      `Cannot report ${JSON.stringify(score.metric)}: its features come from ${JSON.stringify(features.network)}, expected "inception"`,
    );
}

async function readSamples(
  sample: Artifact,
  facts: SampleFacts | undefined,
  config: ReportConfig,
  signal: AbortSignal,
): Promise<Sample[]> {
  const folder = `${(mainGroup(facts?.groups ?? [])?.folder ?? "images").replace(/\/+$/, "")}/`;
  const files = sample.files.filter((file) => file.startsWith(folder) && /^\d+\.png$/.test(file.slice(folder.length)));
  const samples: Sample[] = [];
  for (const file of files.slice(0, config.samples)) {
    signal.throwIfAborted();
    const seed = file.slice(folder.length, -".png".length).replace(/^0+(?=\d)/, "");
    samples.push({ seed, picture: await readPicture(sample, file, config.maxTileSide) });
  }
  return samples;
}

async function readFilm(train: Artifact, config: ReportConfig, signal: AbortSignal): Promise<Run["film"]> {
  const all = train.files
    .flatMap((file) => {
      const step = /^samples\/step-(\d+)\.png$/.exec(file)?.[1];
      return step === undefined ? [] : [{ file, step: Number(step) }];
    })
    .sort((a, b) => a.step - b.step);
  const frames: Frame[] = [];
  for (const { file, step } of spread(all, config.frames)) {
    signal.throwIfAborted();
    frames.push({ step, picture: await readPicture(train, file, config.maxSide) });
  }
  return { frames, of: all.length };
}

/** At most `n` of some items, evenly, the first and the last among them. */
export function spread<T>(items: readonly T[], n: number): T[] {
  if (items.length <= n) return [...items];
  return Array.from({ length: n }, (_, i) => items[Math.round((i * (items.length - 1)) / (n - 1))] as T);
}

async function pictureIfThere(
  artifact: Artifact | undefined,
  file: string,
  config: ReportConfig,
): Promise<Picture | undefined> {
  return artifact?.files.includes(file) ? readPicture(artifact, file, config.maxSide) : undefined;
}

/** What the tests of this package share: a small model, latents to train it on, a place to run stages in. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LatentShardWriter, listFiles, sha256, writeSafetensors, type Artifact } from "@madformer/artifacts";
import { normal, randomKey } from "@madformer/engine";
import { StageFiles, type StageContext } from "@madformer/stage";
import { TrainConfig } from "./config.js";

/** Latents: 8 x 8 x 3, of images of 16 x 16 pixels in patches of 2. */
export const SIDE = 8;
export const CHANNELS = 3;

/** The smallest model that has every part. */
export const TINY_MODEL = {
  latentChannels: CHANNELS,
  blocks: 4,
  blockSide: 4,
  width: 16,
  heads: 2,
  mlpWidth: 16,
  arLayers: 1,
  diffusionLayers: 1,
  unet: { channels: [4, 8], layers: [1, 1], attention: [false, true], groups: 2, heads: 2, timeChannels: 4 },
};

/** As large, in one block and without levels: compiled in half the time. */
export const PLAIN_MODEL = {
  ...TINY_MODEL,
  blocks: 1,
  blockSide: 8,
  unet: { channels: [4], layers: [1], attention: [false], groups: 2, heads: 2, timeChannels: 4 },
};

/** A config of a run of seconds. */
export function tinyConfig(overrides: Record<string, unknown> = {}): TrainConfig {
  return TrainConfig.parse({
    model: PLAIN_MODEL,
    seed: 5,
    batchImages: 2,
    steps: 12,
    learningRate: 3e-3,
    checkpointEvery: 4,
    logEvery: 3,
    ...overrides,
  });
}

/** An artifact of the files in a folder. */
export async function artifactOf(folder: string, stage = "test"): Promise<Artifact> {
  const files = await listFiles(folder, ["logs", "tmp"]);
  return {
    digest: sha256(folder),
    manifest: { format: 1, stage, facts: {}, files: {} },
    record: undefined,
    files,
    path: async (file) => join(folder, file),
    changed: async () => [],
  };
}

/**
 * Writes latents of drawn numbers into a folder: in two shards, the second without variances. Their codec is patch-pca.
 *
 * @param classes How many classes take turns; without any, images have none.
 */
export async function writeLatents(folder: string, images = 7, classes = 0): Promise<Artifact> {
  await mkdir(folder, { recursive: true });
  const size = SIDE * SIDE * CHANNELS;
  const shape = { height: SIDE, width: SIDE, channels: CHANNELS };
  const first = Math.ceil(images / 2);
  for (const [shard, [from, to]] of [[0, first] as const, [first, images] as const].entries()) {
    await using writer = await LatentShardWriter.create(join(folder, `latents-0000${shard}.arrow`), shape);
    for (let i = from; i < to; i++) {
      const key = randomKey(1, "latents", [i]);
      const logvar = shard === 0 ? new Float32Array(size).fill(-4) : null;
      await writer.add({
        key: String(i),
        label: classes > 0 ? i % classes : null,
        mean: normal(key, { size }),
        logvar,
      });
    }
    await writer.finish();
  }
  const codec = {
    kind: "patch-pca",
    patch: 2,
    channels: CHANNELS,
    side: 2 * SIDE,
    scale: { mean: new Array(CHANNELS).fill(0), std: new Array(CHANNELS).fill(0.3) },
  };
  await writeFile(join(folder, "codec.json"), JSON.stringify(codec));
  await writeSafetensors(join(folder, "codec.safetensors"), {
    mean: { shape: [12], data: new Float32Array(12).fill(0.1) },
    // Red, green and blue, each constant over the patch.
    basis: {
      shape: [12, CHANNELS],
      data: Float32Array.from({ length: 36 }, (_, i) => (Math.floor(i / 3) % 3 === i % 3 ? 0.5 : 0)),
    },
  });
  return artifactOf(folder, "latents");
}

/** A place to run a stage in, which remembers what was said. */
export interface TestContext extends StageContext {
  readonly infos: string[];
  readonly warnings: string[];
  readonly reports: { readonly done: number; readonly total: number; readonly details: Record<string, string> }[];
}

export async function contextIn(out: string, signal = new AbortController().signal): Promise<TestContext> {
  await mkdir(join(out, "tmp"), { recursive: true });
  const files = await StageFiles.open(out);
  opened.push({ out, files });
  const [infos, warnings, reports]: [string[], string[], TestContext["reports"]] = [[], [], []];
  return {
    out,
    files,
    signal,
    infos,
    warnings,
    reports,
    log: {
      info: (message) => void infos.push(message),
      warn: (message) => void warnings.push(message),
      progress: (_, done, total, details = {}) => void reports.push({ done, total, details }),
    },
  };
}

/** Digests of all files of a folder that are content. */
export async function contentOf(folder: string): Promise<Record<string, string>> {
  const files = await listFiles(folder, ["logs", "tmp"]);
  return Object.fromEntries(
    await Promise.all(files.map(async (file) => [file, sha256(await readFile(join(folder, file)))] as const)),
  );
}

/** What contexts hold open below a folder. */
const opened: { readonly out: string; readonly files: StageFiles }[] = [];

/** A folder that is removed after the tests; contexts in it are closed. */
export async function temporaryFolder(name: string): Promise<{ path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), `${name}-`));
  return {
    path,
    [Symbol.asyncDispose]: async () => {
      for (const { out, files } of opened) if (out.startsWith(path)) await files[Symbol.asyncDispose]();
      await rm(path, { recursive: true, force: true });
    },
  };
}

/** Lines of a file of JSON. */
export async function jsonLines<T>(path: string): Promise<T[]> {
  const text = await readFile(path, "utf8");
  return text.split("\n").flatMap((line) => (line === "" ? [] : [JSON.parse(line) as T]));
}

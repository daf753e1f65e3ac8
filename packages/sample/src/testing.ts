import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openFolder, writeSafetensors, type Artifact } from "@madformer/artifacts";
import { normal, randomKey } from "@madformer/engine";
import {
  codecConfig,
  codecSpecs,
  initialize,
  madformerConfig,
  madformerSpecs,
  PRESETS,
  toStateDict,
  type ParameterSpecs,
} from "@madformer/model";
import { StageFiles, type StageContext } from "@madformer/stage";

/** Four blocks of 4 x 4 latent pixels, which stand for 2 x 2 pixels each: images of 16 x 16. */
export const model = madformerConfig(PRESETS.smoke);
export const codec = codecConfig({
  kind: "patch-pca",
  patch: 2,
  channels: 4,
  side: 16,
  scale: { mean: [0, 0, 0, 0], std: [1, 1, 1, 1] },
});

/** Small values everywhere: first weights would leave out what starts at zero. */
function weights(specs: ParameterSpecs, seed: number): Record<string, Float32Array> {
  const first = initialize(specs, seed);
  for (const [key, values] of Object.entries(first)) {
    const noise = normal(randomKey(seed, key), { size: values.length });
    values.forEach((value, i) => (values[i] = value + 0.02 * (noise[i] ?? 0)));
  }
  return first;
}

const save = (path: string, specs: ParameterSpecs, seed: number): Promise<unknown> =>
  writeSafetensors(path, toStateDict(specs, weights(specs, seed)));

export interface Bench extends AsyncDisposable {
  readonly root: string;
  readonly checkpoint: Artifact;
  /** A context that writes to a folder of this name. */
  context(out: string, signal?: AbortSignal): Promise<StageContext>;
}

/** A folder with what `export` makes: final weights of step 20, and those of step 5. */
export async function bench(of = model, names?: readonly string[]): Promise<Bench> {
  const root = await mkdtemp(join(tmpdir(), "sample-"));
  const folder = join(root, "checkpoint");
  const specs = madformerSpecs(of);
  for (const [below, seed] of [
    ["", 1],
    ["checkpoints/step-0000005/", 2],
    ["checkpoints/step-0000020/", 1],
  ] as const) {
    await mkdir(join(folder, below), { recursive: true });
    await save(join(folder, below, "ema.safetensors"), specs, seed);
    await save(join(folder, below, "weights.safetensors"), specs, 10 + seed);
  }
  await save(join(folder, "codec.safetensors"), codecSpecs(codec), 3);
  await writeFile(join(folder, "codec.json"), JSON.stringify(codec));
  await writeFile(join(folder, "config.json"), JSON.stringify({ format: 1, model: of, step: 20, training: {} }));
  if (names) await writeFile(join(folder, "classes.json"), JSON.stringify(names));
  const opened: StageFiles[] = [];
  return {
    root,
    checkpoint: await openFolder(folder),
    context: async (name, signal = new AbortController().signal) => {
      const out = join(root, name);
      await mkdir(join(out, "tmp"), { recursive: true });
      const files = await StageFiles.open(out);
      opened.push(files);
      return { out, files, signal, log: { info: () => {}, warn: () => {}, progress: () => {} } };
    },
    [Symbol.asyncDispose]: async () => {
      for (const files of opened) await files[Symbol.asyncDispose]();
      await rm(root, { recursive: true, force: true });
    },
  };
}

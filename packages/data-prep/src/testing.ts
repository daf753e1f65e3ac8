/** What the tests of this package share: folders, artifacts and contexts of stages. */
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openFolder, type Artifact } from "@madformer/artifacts";
import { StageFiles, type StageContext } from "@madformer/stage";
import { writeShard } from "./webdataset/write.js";

/** What contexts hold open below a folder. */
const opened: { readonly out: string; readonly files: StageFiles }[] = [];

/** Runs `use` in a new folder, and removes it; contexts in it are closed. */
export async function inFolder<T>(use: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), "data-prep-"));
  try {
    return await use(folder);
  } finally {
    for (const { out, files } of opened) if (out.startsWith(folder)) await files[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  }
}

export interface TestContext extends StageContext {
  readonly infos: string[];
  readonly warnings: string[];
  /** The last progress of each kind. */
  readonly progress: Map<string, readonly [done: number, total: number]>;
}

/** The surroundings of a stage that writes into a folder. */
export async function contextIn(
  out: string,
  signal = new AbortController().signal,
  onProgress?: () => void,
): Promise<TestContext> {
  await mkdir(join(out, "tmp"), { recursive: true });
  const files = await StageFiles.open(out);
  opened.push({ out, files });
  const [infos, warnings, progress] = [[] as string[], [] as string[], new Map<string, readonly [number, number]>()];
  const log = {
    info: (message: string) => void infos.push(message),
    warn: (message: string) => void warnings.push(message),
    progress: (label: string, done: number, total: number) => {
      progress.set(label, [done, total]);
      onProgress?.();
    },
  };
  return { out, files, signal, log, infos, warnings, progress };
}

export type Files = Readonly<Record<string, Uint8Array | string>>;

/** An artifact of tars: of each tar, its keys, and of each key, its files by extension. */
export async function datasetOf(folder: string, tars: readonly Readonly<Record<string, Files>>[]): Promise<Artifact> {
  await mkdir(folder, { recursive: true });
  for (const [i, samples] of tars.entries())
    await writeShard(
      join(folder, `${String(i).padStart(5, "0")}.tar`),
      Object.entries(samples).map(([key, files]) => ({
        key,
        files: new Map(
          Object.entries(files).map(([extension, content]) => [extension, Buffer.from(content as string)]),
        ),
      })),
    );
  return openFolder(folder);
}

/** SHA-256 of each file of an artifact, by name. */
export async function digestsOf(folder: string): Promise<Record<string, string>> {
  const digests: Record<string, string> = {};
  for (const name of (await readdir(folder)).sort())
    if (!["tmp", "logs"].includes(name))
      digests[name] = createHash("sha256")
        .update(await readFile(join(folder, name)))
        .digest("hex");
  return digests;
}

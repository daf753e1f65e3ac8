import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rename, rm, stat, utimes } from "node:fs/promises";
import { cpus } from "node:os";
import { join } from "node:path";
import type { Pointer } from "../../bound/memory.js";
import { enginesFolder } from "../../installs/folder.js";
import type { OvLibrary, OvProperties } from "./library.js";
import type { OvModel } from "./ov-session.js";

/** What the cache may take; what was used longest ago goes first. */
const MAX_CACHE_BYTES = 4 * 2 ** 30;

/** A program this small compiles faster than a file is looked for, and tests compile hundreds. */
const MIN_MODEL_BYTES = 64 << 10;

let folder: string | undefined;

/** Where compiled models are kept: `<engines>/cache/openvino`. */
export const cacheFolder = (): string => folder ?? join(enginesFolder(), "cache", "openvino");

/** Keeps them somewhere else, in this process. */
export const setCacheFolder = (path: string | undefined): void => void (folder = path);

/** What a compiled model depends on: the model, the settings, OpenVINO, the processor. */
function keyOf(ov: OvLibrary, { digest }: OvModel, properties: OvProperties): string {
  const parts = [digest, ov.version, process.arch, cpus()[0]?.model ?? "", properties];
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 32);
}

const digestOf = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex").slice(0, 32);

/**
 * What was compiled before, and the file's bytes: the compiled model reads its constants there, for as long as it
 * lives.
 */
export interface Imported {
  readonly compiled: Pointer;
  readonly bytes: Uint8Array;
}

/**
 * A model that an earlier run compiled. The name of its file holds its digest: a damaged one is removed, and compiled
 * anew.
 */
export async function fromCache(
  ov: OvLibrary,
  core: Pointer,
  model: OvModel,
  properties: OvProperties,
): Promise<Imported | undefined> {
  if (isSmall(model)) return undefined;
  const key = keyOf(ov, model, properties);
  for (const name of await namesIn(cacheFolder())) {
    const [, of, digest] = /^([0-9a-f]{32})-([0-9a-f]{32})\.blob$/.exec(name) ?? [];
    if (of !== key) continue;
    const path = join(cacheFolder(), name);
    try {
      const bytes = await readFile(path);
      if (digestOf(bytes) !== digest) throw new Error("it is damaged");
      const compiled = await ov.makeAsync("ov_core_import_model", core, bytes, bytes.byteLength, "CPU");
      const now = new Date();
      await utimes(path, now, now).catch(() => undefined);
      return { compiled, bytes };
    } catch {
      await rm(path, { force: true });
    }
  }
  return undefined;
}

/** Keeps a compiled model for later runs. A cache that cannot be written to is no error. */
export async function intoCache(
  ov: OvLibrary,
  compiled: Pointer,
  model: OvModel,
  properties: OvProperties,
): Promise<void> {
  if (isSmall(model)) return;
  const folder = cacheFolder();
  const temporary = join(folder, `.${process.pid}.${Date.now()}.tmp`);
  try {
    await mkdir(folder, { recursive: true });
    await ov.callAsync("ov_compiled_model_export_model", compiled, temporary);
    const digest = digestOf(await readFile(temporary));
    await rename(temporary, join(folder, `${keyOf(ov, model, properties)}-${digest}.blob`));
    await makeRoom(folder);
  } catch {
    await rm(temporary, { force: true }).catch(() => undefined);
  }
}

const isSmall = ({ bytes, external }: OvModel): boolean =>
  external.reduce((sum, { byteLength }) => sum + byteLength, bytes.byteLength) < MIN_MODEL_BYTES;

async function makeRoom(folder: string): Promise<void> {
  const files = await Promise.all(
    (await namesIn(folder)).map(async (name) => {
      const status = await stat(join(folder, name)).catch(() => undefined);
      return { name, size: status?.size ?? 0, usedMs: status?.mtimeMs ?? 0 };
    }),
  );
  let total = files.reduce((sum, { size }) => sum + size, 0);
  for (const { name, size } of files.sort((a, b) => a.usedMs - b.usedMs)) {
    if (total <= MAX_CACHE_BYTES) return;
    await rm(join(folder, name), { force: true });
    total -= size;
  }
}

async function namesIn(folder: string): Promise<string[]> {
  return readdir(folder).catch(() => []);
}

import { cpus } from "node:os";
import type { Pointer } from "../../bound/memory.js";
import { CompiledCache, keyOf } from "../../installs/compiled-cache.js";
import type { OvLibrary, OvProperties } from "./library.js";
import type { OvModel } from "./ov-session.js";

/** A program this small compiles faster than a file is looked for, and tests compile hundreds. */
const MIN_MODEL_BYTES = 64 << 10;

/** Compiled models. */
export const cache = new CompiledCache("openvino");

/** What a compiled model depends on: the model, the settings, OpenVINO, the processor. */
const keyFor = (ov: OvLibrary, { digest }: OvModel, properties: OvProperties): string =>
  keyOf([digest, ov.version, process.arch, cpus()[0]?.model ?? "", properties]);

/**
 * What was compiled before, and the file's bytes: the compiled model reads its constants there, for as long as it
 * lives.
 */
export interface Imported {
  readonly compiled: Pointer;
  readonly bytes: Uint8Array;
}

/** A model that an earlier run compiled. */
export async function fromCache(
  ov: OvLibrary,
  core: Pointer,
  model: OvModel,
  properties: OvProperties,
): Promise<Imported | undefined> {
  if (isSmall(model)) return undefined;
  return cache.find(keyFor(ov, model, properties), async (bytes) => {
    const compiled = await ov.makeAsync("ov_core_import_model", core, bytes, bytes.byteLength, "CPU");
    return { compiled, bytes };
  });
}

/** Keeps a compiled model for later runs. */
export async function intoCache(
  ov: OvLibrary,
  compiled: Pointer,
  model: OvModel,
  properties: OvProperties,
): Promise<void> {
  if (isSmall(model)) return;
  await cache.keep(keyFor(ov, model, properties), (path) =>
    ov.callAsync("ov_compiled_model_export_model", compiled, path),
  );
}

const isSmall = ({ bytes, external }: OvModel): boolean =>
  external.reduce((sum, { byteLength }) => sum + byteLength, bytes.byteLength) < MIN_MODEL_BYTES;

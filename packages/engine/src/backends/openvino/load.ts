import { createHash } from "node:crypto";
import { availableParallelism } from "node:os";
import koffi from "koffi";
import type { PrecisionName, ProgramFields } from "../../backend.js";
import { BoundExecutor } from "../../bound/executor.js";
import type { Update } from "../../bound/updates/split-updates.js";
import { UpdateRunner } from "../../bound/updates/update-runner.js";
import { encodeModel, shapesOf, type OnnxModel, type OnnxTensor } from "../../onnx/proto.js";
import type { OvProperties } from "./library.js";
import { OvSession, type OvModel } from "./ov-session.js";

/** Initializers from this size on stay where they lie: OpenVINO is told their addresses. */
const EXTERNAL_BYTES = 1024;

/** Where OpenVINO's ONNX reader looks for an initializer in this process: it takes the offset for an address. */
const IN_MEMORY = "*/_ORT_MEM_ADDR_/*";

export interface OvOptions {
  readonly precision: PrecisionName;
  /** Default: one per core. */
  readonly threads?: number | undefined;
}

/**
 * Loads an ONNX model whose inputs and outputs are named as `trace` names them.
 *
 * @param updates What follows the model, if its graph was split.
 */
export async function loadOpenVino(
  model: OnnxModel,
  fields: ProgramFields,
  { precision, threads }: OvOptions,
  updates: readonly Update[] = [],
): Promise<BoundExecutor> {
  const session = await OvSession.load(inMemory(model), propertiesOf(precision, threads));
  const runner = updates.length > 0 ? new UpdateRunner(updates, threads) : undefined;
  return new BoundExecutor(fields, session, shapesOf(model), runner);
}

/** Settings of the device `CPU`. Threads are not pinned: pinned ones wait for a core that others use. */
function propertiesOf(precision: PrecisionName, threads = availableParallelism()): OvProperties {
  return {
    PERFORMANCE_HINT: "LATENCY",
    NUM_STREAMS: "1",
    INFERENCE_NUM_THREADS: String(threads),
    ENABLE_CPU_PINNING: "NO",
    INFERENCE_PRECISION_HINT: precision === "bf16" ? "bf16" : "f32",
  };
}

/** A model with its large initializers where they are, and its digest, which their addresses are no part of. */
function inMemory(model: OnnxModel): OvModel {
  const external: Uint8Array[] = [];
  const hash = createHash("sha256");
  const initializer = model.graph.initializer.map((tensor): OnnxTensor => {
    const { rawData, ...head } = tensor;
    if (rawData === undefined || rawData.byteLength < EXTERNAL_BYTES) return tensor;
    external.push(rawData);
    hash.update(`${head.name}:${head.dataType}:${head.dims.join()}:`).update(rawData);
    const offset = koffi.address(rawData).toString();
    const entries = { location: IN_MEMORY, offset, length: String(rawData.byteLength) };
    return {
      ...head,
      dataLocation: 1,
      externalData: Object.entries(entries).map(([key, value]) => ({ key, value })),
    };
  });
  const inline = model.graph.initializer.filter((_, i) => initializer[i] === model.graph.initializer[i]);
  hash.update(encodeModel({ ...model, graph: { ...model.graph, initializer: inline } }));
  const bytes = encodeModel({ ...model, graph: { ...model.graph, initializer } });
  return { bytes, external, digest: hash.digest("hex") };
}

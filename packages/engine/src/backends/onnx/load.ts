import type { ProgramFields } from "../../backend.js";
import { BoundExecutor } from "../../bound/executor.js";
import type { Buffer } from "../../bound/memory.js";
import type { Update } from "../../bound/updates/split-updates.js";
import { UpdateRunner } from "../../bound/updates/update-runner.js";
import type { TensorData } from "../../ir/graph.js";
import { dtypeOfElement, encodeModel, shapesOf, type OnnxModel, type OnnxTensor } from "../../onnx/proto.js";
import { OrtSession, type SessionOptions } from "./ort-session.js";

/** Initializers from this size on are handed to ONNX Runtime where they lie, and not copied into the model's bytes. */
const EXTERNAL_BYTES = 1024;

/**
 * Loads an ONNX model whose inputs and outputs are named as `trace` names them.
 *
 * @param updates What follows the model, if its graph was split.
 */
export async function loadOnnx(
  model: OnnxModel,
  fields: ProgramFields,
  options: SessionOptions,
  updates: readonly Update[] = [],
): Promise<BoundExecutor> {
  const external = new Map<string, Buffer>();
  const initializer = model.graph.initializer.map((tensor): OnnxTensor => {
    const { rawData, dims, name } = tensor;
    const dtype = dtypeOfElement(tensor.dataType);
    if (rawData === undefined || rawData.byteLength < EXTERNAL_BYTES || dtype === undefined) return tensor;
    external.set(name, { dtype, shape: dims, data: viewOf(rawData, dtype) });
    const { rawData: _inline, ...head } = tensor;
    const entries = { location: "memory", offset: "0", length: String(rawData.byteLength) };
    return {
      ...head,
      dataLocation: 1,
      externalData: Object.entries(entries).map(([key, value]) => ({ key, value })),
    };
  });
  const bytes = encodeModel({ ...model, graph: { ...model.graph, initializer } });
  const session = await OrtSession.load(bytes, external, options);
  const runner = updates.length > 0 ? new UpdateRunner(updates, options.threads) : undefined;
  return new BoundExecutor(fields, session, shapesOf(model), runner);
}

/**
 * Bytes as elements, in place where their alignment allows. (Node's Buffer, which a file is, has a `slice` that does
 * not copy.)
 */
function viewOf(bytes: Uint8Array, dtype: Buffer["dtype"]): TensorData {
  if (dtype === "bool") return bytes;
  const aligned = bytes.byteOffset % 4 === 0 ? bytes : new Uint8Array(bytes);
  const View = dtype === "float32" ? Float32Array : Int32Array;
  return new View(aligned.buffer as ArrayBuffer, aligned.byteOffset, aligned.byteLength / 4);
}

import type { BoundMemory, Pointer } from "../../bound/memory.js";
import type { BoundSession } from "../../bound/session.js";
import { fromCache, intoCache } from "./cache.js";
import { OV_TENSORS, ovLibrary, propertyList, type OvLibrary, type OvProperties } from "./library.js";

/** What a session is loaded from. */
export interface OvModel {
  /** An ONNX model; large initializers are named by their addresses. */
  readonly bytes: Uint8Array;
  /** What lies at those addresses: kept for as long as the session. */
  readonly external: readonly ArrayBufferView[];
  /** What the model is, whatever the addresses are. */
  readonly digest: string;
}

/** One set of bindings: a request of OpenVINO's, which keeps what is bound. */
interface Slot {
  readonly request: Pointer;
  readonly bound: Map<string, BoundMemory>;
}

/** A compiled model with its tensors bound once. Each slot is a request; they share the compiled model. */
export class OvSession implements BoundSession {
  readonly runtime = OV_TENSORS;
  private readonly ov: OvLibrary;
  private readonly core: Pointer;
  private readonly compiled: Pointer;
  /** Kept: the compiled model may read what it was made from. */
  private readonly model: OvModel;
  private readonly slots: Slot[] = [];
  private readonly inputs = new Map<string, boolean>();

  private constructor(ov: OvLibrary, core: Pointer, compiled: Pointer, model: OvModel) {
    this.ov = ov;
    this.core = core;
    this.compiled = compiled;
    this.model = model;
  }

  /**
   * Compiles a model on another thread, or takes what an earlier run compiled.
   *
   * @throws {Error} If OpenVINO is not installed or cannot compile it; the message is OpenVINO's.
   */
  static async load(model: OvModel, properties: OvProperties): Promise<OvSession> {
    const ov = ovLibrary();
    const core = ov.make("ov_core_create"); // one for each: a blob is read with the core's settings
    try {
      const list = propertyList(properties);
      ov.call("ov_core_set_properties", core, "CPU", list.length, list);
      const known = await fromCache(ov, core, model, properties);
      if (known) return new OvSession(ov, core, known.compiled, { ...model, external: [known.bytes] });
      const compiled = await compileModel(ov, core, model, properties);
      return new OvSession(ov, core, compiled, model);
    } catch (error) {
      ov.release("ov_core_free", core);
      throw error;
    }
  }

  /** Bytes of the initializers that lie where they lay. */
  get externalBytes(): number {
    return this.model.external.reduce((sum, { byteLength }) => sum + byteLength, 0);
  }

  bind(): number {
    const request = this.ov.make("ov_compiled_model_create_infer_request", this.compiled);
    return this.slots.push({ request, bound: new Map() }) - 1;
  }

  bindInput(slot: number, name: string, memory: BoundMemory): void {
    if (this.takes(name)) this.bindOutput(slot, name, memory);
  }

  bindOutput(slot: number, name: string, memory: BoundMemory): void {
    const { request, bound } = this.slots[slot] as Slot;
    if (bound.get(name) === memory || memory.buffer.data.length === 0) return;
    this.ov.call("ov_infer_request_set_tensor", request, name, memory.value);
    bound.set(name, memory);
  }

  run(slot: number): Promise<void> {
    return this.ov.callAsync("ov_infer_request_infer", (this.slots[slot] as Slot).request);
  }

  /** Whether the compiled model has this input: OpenVINO drops those that nothing uses. */
  private takes(name: string): boolean {
    let known = this.inputs.get(name);
    if (known === undefined) {
      try {
        const port = this.ov.make("ov_compiled_model_input_by_name", this.compiled, name);
        this.ov.release("ov_output_const_port_free", port);
        known = true;
      } catch {
        known = false;
      }
      this.inputs.set(name, known);
    }
    return known;
  }

  [Symbol.dispose](): void {
    for (const { request } of this.slots.splice(0)) this.ov.release("ov_infer_request_free", request);
    this.ov.release("ov_compiled_model_free", this.compiled);
    this.ov.release("ov_core_free", this.core);
  }
}

async function compileModel(ov: OvLibrary, core: Pointer, model: OvModel, properties: OvProperties): Promise<Pointer> {
  const { bytes } = model;
  const read = await ov.makeAsync("ov_core_read_model_from_memory_buffer", core, bytes, bytes.byteLength, null);
  try {
    const compiled = await ov.makeAsync("ov_core_compile_model_props", core, read, "CPU", 0, []);
    await intoCache(ov, compiled, model, properties);
    return compiled;
  } finally {
    ov.release("ov_model_free", read);
  }
}

import type { BackendState, PrecisionName } from "../../backend.js";
import { ovLibrary, ovLibraryPath, propertyList } from "./library.js";

/** Whether OpenVINO is there, and what the processor makes of bfloat16. */
export function ovState(): BackendState {
  try {
    const { version } = ovLibrary();
    return { version: version.replace(/-.*/s, ""), devices: ["cpu"], notes: [NOTES[bfloat16()]] };
  } catch (error) {
    const { message } = error as Error;
    if (ovLibraryPath() === undefined) return { devices: [], problem: message };
    return { devices: [], problem: `${message}; madformer engines install openvino installs it anew` };
  }
}

/**
 * What asking for bfloat16 gives: `fast`, instructions that multiply it; `rounds`, the same results without them, no
 * faster than float32; `ignored`, float32: OpenVINO has no kernels for bfloat16 that this processor can run.
 */
export type Bfloat16 = "fast" | "rounds" | "ignored";

let known: Bfloat16 | undefined;

/** Which of these it is here. OpenVINO sets the hint back where it will not follow it. */
export function bfloat16(): Bfloat16 {
  return (known ??= probe());
}

function probe(): Bfloat16 {
  const ov = ovLibrary();
  const core = ov.make("ov_core_create");
  try {
    const hint = propertyList({ INFERENCE_PRECISION_HINT: "bf16" });
    ov.call("ov_core_set_properties", core, "CPU", hint.length, hint);
    if (ov.property(core, "INFERENCE_PRECISION_HINT") !== "bf16") return "ignored";
    return ov.property(core, "OPTIMIZATION_CAPABILITIES").split(/\s+/).includes("BF16") ? "fast" : "rounds";
  } finally {
    ov.release("ov_core_free", core);
  }
}

const NOTES: Readonly<Record<Bfloat16, string>> = {
  fast: "the processor has bfloat16: with bf16 products run up to twice as fast",
  rounds: "the processor has no bfloat16: bf16 rounds, and is no faster here",
  ignored: "the processor has no bfloat16: bf16 is float32 here",
};

/**
 * The precision that programs get which ask for one: records and keys name no other. Says once why bf16 gives nothing,
 * where it does not.
 */
export function granted(precision: PrecisionName): PrecisionName {
  if (precision !== "bf16" || ovLibraryPath() === undefined || bfloat16() === "fast") return precision;
  if (!warned) process.emitWarning(`engine openvino: ${NOTES[bfloat16()]}`);
  warned = true;
  return bfloat16() === "ignored" ? "float32" : precision;
}

let warned = false;

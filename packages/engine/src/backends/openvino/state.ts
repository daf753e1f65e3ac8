import type { BackendState } from "../../backend.js";
import { ovLibrary, ovLibraryPath } from "./library.js";

/** Whether OpenVINO is there, and whether the processor multiplies in bfloat16. */
export function ovState(): BackendState {
  try {
    const { version } = ovLibrary();
    return { version: version.replace(/-.*/s, ""), devices: ["cpu"], notes: [bfloat16Note()] };
  } catch (error) {
    const { message } = error as Error;
    if (ovLibraryPath() === undefined) return { devices: [], problem: message };
    return { devices: [], problem: `${message}; madformer engines install openvino installs it anew` };
  }
}

/** Whether the processor has instructions for bfloat16. Without them `bf16` rounds, and is no faster. */
export function hasBfloat16(): boolean {
  const ov = ovLibrary();
  const core = ov.make("ov_core_create");
  try {
    return ov.property(core, "OPTIMIZATION_CAPABILITIES").split(/\s+/).includes("BF16");
  } finally {
    ov.release("ov_core_free", core);
  }
}

const bfloat16Note = (): string =>
  hasBfloat16()
    ? "the processor has bfloat16: with bf16 products run up to twice as fast"
    : "the processor has no bfloat16: bf16 is no faster here";

let warned = false;

/** Says once that bf16 gives nothing here, where it does not. */
export function warnOfBfloat16(): void {
  if (warned || hasBfloat16()) return;
  warned = true;
  process.emitWarning(
    "the processor has no instructions for bfloat16: precision bf16 rounds, and is no faster than float32",
  );
}

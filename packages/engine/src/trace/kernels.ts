import * as tf from "@tensorflow/tfjs-core";
import { TRACE_BACKEND, TraceBackend, TraceError } from "./backend.js";
import { callSite } from "./call-site.js";
import { ELEMENTWISE } from "./elementwise.js";
import type { Kernel, Kernels, Operands } from "./kernel.js";
import { OWN } from "./own.js";
import { REDUCTIONS } from "./reductions.js";
import { SHAPES } from "./shapes.js";
import { WINDOWS } from "./windows.js";

/** Matrix products; batch axes broadcast. */
const PRODUCTS: Kernels = {
  BatchMatMul: (
    trace,
    { a, b },
    { transposeA = false, transposeB = false }: { transposeA?: boolean; transposeB?: boolean },
  ) => trace.node({ kind: "matmul", transposeA, transposeB, alpha: 1 }, a, b),
};

/** Every tfjs kernel that a program may use, by its tfjs name. */
export const KERNELS: Kernels = { ...ELEMENTWISE, ...REDUCTIONS, ...PRODUCTS, ...SHAPES, ...WINDOWS, ...OWN };

let backend: TraceBackend | undefined;

/** The tracing backend, registered in tfjs with all its kernels at the first call. */
export function traceBackend(): TraceBackend {
  if (backend) return backend;
  const made = (backend = new TraceBackend());
  tf.registerBackend(TRACE_BACKEND, () => made, 0);
  for (const [kernelName, kernel] of Object.entries(KERNELS))
    tf.registerKernel({ kernelName, backendName: TRACE_BACKEND, kernelFunc: recording(made, kernelName, kernel) });
  for (const kernelName of unsupportedKernels())
    tf.registerKernel({ kernelName, backendName: TRACE_BACKEND, kernelFunc: refusing(kernelName) });
  return made;
}

/** Kernels that tfjs knows and programs cannot use. */
function unsupportedKernels(): string[] {
  const names = Object.values(tf as unknown as Record<string, unknown>).filter(
    (value): value is string => typeof value === "string" && /^_?[A-Z]\w+$/.test(value),
  );
  return [...new Set(names)].filter((name) => !(name in KERNELS));
}

function recording(trace: TraceBackend, kernelName: string, kernel: Kernel): tf.KernelFunc {
  return ({ inputs, attrs }) => {
    const list = (Array.isArray(inputs) ? inputs : Object.values(inputs)) as tf.TensorInfo[];
    const nodes = list.map((info) => trace.nodeOf(info));
    const named = Array.isArray(inputs)
      ? {}
      : Object.fromEntries(Object.keys(inputs).map((name, i) => [name, nodes[i]]));
    try {
      const result = kernel(trace, named as Operands, attrs ?? {}, nodes);
      return "op" in result ? trace.infoOf(result) : result.map((node) => trace.infoOf(node));
    } catch (cause) {
      if (cause instanceof TraceError) throw cause;
      const reason = `${(cause as Error).message}; called at ${callSite()}`;
      throw new TraceError(`tfjs operation "${kernelName}" cannot be compiled: ${reason}`, { cause });
    }
  };
}

function refusing(kernelName: string): tf.KernelFunc {
  return () => {
    throw new TraceError(
      `tfjs operation "${kernelName}" cannot be compiled: it has no kernel in this engine; called at ${callSite()}`,
    );
  };
}

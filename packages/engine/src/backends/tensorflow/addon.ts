import { existsSync, mkdirSync, symlinkSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import util from "node:util";
import * as tf from "@tensorflow/tfjs-core";
import { installFolder } from "../../installs/folder.js";
import { loadForGood } from "../../native/keep.js";
import { reserveStacks } from "../../native/stacks.js";

/** The tfjs backend that tfjs-node registers. */
export const TFJS_BACKEND = "tensorflow";

/**
 * Packages that bring TensorFlow by npm, and folders that `madformer engines install` makes; the first that is there.
 */
const PACKAGES = ["@tensorflow/tfjs-node-gpu", "@tensorflow/tfjs-node"] as const;
const FOLDERS = ["tensorflow-cuda", "tensorflow"] as const;

/** The part of tfjs-node's addon that is asked. */
interface Binding {
  readonly TF_Version: string;
  isUsingGpuDevice(): boolean;
}

export interface Loaded {
  readonly version: string;
  readonly usesGpu: boolean;
  /** Where it came from: a package or a folder. */
  readonly source: string;
}

let loaded: Loaded | undefined;

/**
 * Loads TensorFlow under tfjs-node at the first call, and registers tfjs' backend for it.
 *
 * @param threads Of one operation, for all programs of the process.
 * @throws {Error} If it is nowhere, or what is there cannot be loaded.
 */
export function loadTensorFlow(threads?: number): Loaded {
  return (loaded ??= load(threads));
}

function load(threads: number | undefined): Loaded {
  repairUtil();
  const settings = {
    TF_CPP_MIN_LOG_LEVEL: "2",
    TF_FORCE_GPU_ALLOW_GROWTH: "true",
    ...(threads === undefined ? {} : { TF_NUM_INTRAOP_THREADS: String(threads), TF_NUM_INTEROP_THREADS: "1" }),
  };
  for (const [name, value] of Object.entries(settings)) process.env[name] ??= value;
  const failures: string[] = [];
  const require = createRequire(import.meta.url);
  for (const name of PACKAGES) {
    if (!resolves(require, name)) continue;
    try {
      const before = tf.engine().backendName;
      require(name); // chooses its backend for everybody
      if (before) void tf.setBackend(before);
      const { binding } = tf.findBackend(TFJS_BACKEND) as unknown as { binding: Binding };
      return { version: binding.TF_Version, usesGpu: binding.isUsingGpuDevice(), source: name };
    } catch (error) {
      failures.push(`${name} cannot be loaded: ${firstLine(error)}`);
    }
  }
  for (const name of FOLDERS) {
    const folder = installFolder(name);
    if (!existsSync(join(folder, "tfjs_binding.node"))) continue;
    try {
      return loadInstalled(folder, name);
    } catch (error) {
      failures.push(`${name} cannot be loaded: ${firstLine(error)}`);
    }
  }
  const advice = "madformer engines install tensorflow (or tensorflow-cuda) installs it";
  throw new Error(failures.length > 0 ? `${failures.join("; ")}; ${advice}` : `TensorFlow is not installed; ${advice}`);
}

/** tfjs-node's kernels over the addon that was built against a wheel's TensorFlow. */
function loadInstalled(folder: string, name: string): Loaded {
  const require = createRequire(join(folder, "index.js"));
  lendTfjs(folder, require);
  reserveStacks();
  for (const library of ["libtensorflow_framework.so.2", "libtensorflow_cc.so.2"])
    loadForGood(join(folder, "tensorflow", library));
  const binding = require(join(folder, "tfjs_binding.node")) as Binding;
  const dist = join(folder, "node_modules", "@tensorflow", "tfjs-node", "dist");
  require(join(dist, "register_all_kernels.js"));
  const { NodeJSKernelBackend } = require(join(dist, "nodejs_kernel_backend.js")) as {
    NodeJSKernelBackend: new (binding: Binding, packageName: string) => tf.KernelBackend;
  };
  const packageName = binding.isUsingGpuDevice() ? PACKAGES[0] : PACKAGES[1];
  tf.registerBackend(TFJS_BACKEND, () => new NodeJSKernelBackend(binding, packageName), 0);
  return { version: binding.TF_Version, usesGpu: binding.isUsingGpuDevice(), source: name };
}

/** tfjs-node asks for `@tensorflow/tfjs`, which is this package's own: outside of the workspace it needs a link. */
function lendTfjs(folder: string, require: NodeJS.Require): void {
  if (resolves(require, "@tensorflow/tfjs/package.json")) return;
  const own = createRequire(import.meta.url);
  for (const name of ["tfjs", "tfjs-core"]) {
    const link = join(folder, "node_modules", "@tensorflow", name);
    mkdirSync(dirname(link), { recursive: true });
    symlinkSync(dirname(own.resolve(`@tensorflow/${name}/package.json`)), link);
  }
}

/** tfjs-node 4.22 uses functions that Node 23 has no more. */
function repairUtil(): void {
  const old = util as unknown as Record<string, unknown>;
  old["isNullOrUndefined"] ??= (value: unknown) => value === null || value === undefined;
  old["isArray"] ??= Array.isArray;
}

function resolves(require: NodeJS.Require, name: string): boolean {
  try {
    require.resolve(name);
    return true;
  } catch {
    return false;
  }
}

const firstLine = (error: unknown): string => (error as Error).message.split("\n")[0] ?? "";

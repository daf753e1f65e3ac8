import { createRequire } from "node:module";
import { join } from "node:path";
import util from "node:util";
import * as tf from "@tensorflow/tfjs-core";
import { installFolder } from "../../installs/folder.js";
import {
  firstRuntime,
  installedRuntime,
  packageRuntime,
  readInstalled,
  type Runtime,
} from "../../installs/installed.js";
import { loadForGood } from "../../native/keep.js";
import { reserveStacks } from "../../native/stacks.js";
import { lendingRequire } from "./modules.js";

/** The tfjs backend that tfjs-node registers. */
export const TFJS_BACKEND = "tensorflow";

/** Folders that `madformer engines install` makes. */
const FOLDERS = ["tensorflow-cuda", "tensorflow"] as const;
/** Packages of npm's that bring TensorFlow. */
const PACKAGES = ["@tensorflow/tfjs-node-gpu", "@tensorflow/tfjs-node"] as const;
/** TensorFlow in such a package. */
const PACKAGE_LIBRARY = join("deps", "lib", "libtensorflow.so.2");

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
  const settings = {
    TF_CPP_MIN_LOG_LEVEL: "2",
    TF_FORCE_GPU_ALLOW_GROWTH: "true",
    ...(threads === undefined ? {} : { TF_NUM_INTRAOP_THREADS: String(threads), TF_NUM_INTEROP_THREADS: "1" }),
  };
  for (const [name, value] of Object.entries(settings)) process.env[name] ??= value;
  const { name, folder } = found() ?? {};
  if (name === undefined) throw new Error(`TensorFlow is not installed; ${ADVICE}`);
  try {
    return folder === undefined ? loadPackage(name) : loadInstalled(folder, name);
  } catch (cause) {
    const reason = (cause as Error).message.split("\n")[0] ?? "";
    throw new Error(`${name} cannot be loaded: ${reason}; ${ADVICE}`, { cause });
  }
}

const ADVICE = "madformer engines install tensorflow (or tensorflow-cuda) installs it";

/** Where TensorFlow comes from: the first that is there, and no other if it does not load. */
function found(): { readonly name: string; readonly folder?: string } | undefined {
  for (const name of FOLDERS) {
    const folder = installFolder(name);
    if (readInstalled(folder) !== undefined) return { name, folder };
  }
  const name = PACKAGES.find((name) => packageRuntime(name, PACKAGE_LIBRARY).version !== undefined);
  return name === undefined ? undefined : { name };
}

/** Which TensorFlow that is. Nothing is loaded. */
export function tensorFlowRuntime(): Runtime {
  return firstRuntime([
    ...FOLDERS.map((name) => installedRuntime(name, "tensorflow")),
    ...PACKAGES.map((name) => packageRuntime(name, PACKAGE_LIBRARY)),
  ]);
}

function loadPackage(name: string): Loaded {
  repairUtil();
  const before = tf.engine().backendName;
  createRequire(import.meta.url)(name); // chooses its backend for everybody
  if (before) void tf.setBackend(before);
  const { binding } = tf.findBackend(TFJS_BACKEND) as unknown as { binding: Binding };
  return { version: binding.TF_Version, usesGpu: binding.isUsingGpuDevice(), source: name };
}

/** tfjs-node's kernels over the addon that was built against a wheel's TensorFlow. */
function loadInstalled(folder: string, name: string): Loaded {
  reserveStacks();
  for (const library of ["libtensorflow_framework.so.2", "libtensorflow_cc.so.2"])
    loadForGood(join(folder, "tensorflow", library));
  const binding = createRequire(import.meta.url)(join(folder, "tfjs_binding.node")) as Binding;
  const manifest = join(folder, "node_modules", "@tensorflow", "tfjs-node", "package.json");
  const own = createRequire(import.meta.url);
  const lent = new Map<string, unknown>([
    ...["@tensorflow/tfjs", "@tensorflow/tfjs-core"].map((name) => [name, own(name)] as const),
    ["util", { ...util, ...OLD_UTIL }],
  ]);
  const require = lendingRequire(manifest, lent);
  require("./dist/register_all_kernels");
  const { NodeJSKernelBackend } = require("./dist/nodejs_kernel_backend") as {
    NodeJSKernelBackend: new (binding: Binding, packageName: string) => tf.KernelBackend;
  };
  const packageName = binding.isUsingGpuDevice() ? PACKAGES[0] : PACKAGES[1];
  tf.registerBackend(TFJS_BACKEND, () => new NodeJSKernelBackend(binding, packageName), 0);
  return { version: binding.TF_Version, usesGpu: binding.isUsingGpuDevice(), source: name };
}

/** What tfjs-node 4.22 uses of `util`, and Node 23 has no more. */
const OLD_UTIL = {
  isNullOrUndefined: (value: unknown): boolean => value === null || value === undefined,
  isArray: (value: unknown): boolean => Array.isArray(value),
};

/** Gives `util` back what it had, for a package that Node loads. */
function repairUtil(): void {
  const now = util as unknown as Record<string, unknown>;
  for (const [name, old] of Object.entries(OLD_UTIL)) now[name] ??= old;
}

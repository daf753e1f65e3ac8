import { createHash } from "node:crypto";
import { closeSync, existsSync, fstatSync, openSync, readdirSync, readSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { installFolder } from "../../installs/folder.js";
import { firstRuntime, installedRuntime, readInstalled, type Runtime } from "../../installs/installed.js";
import { loadForGood } from "../../native/keep.js";

/** A plugin's library, and where it came from: an engine's name, or the variable that names it. */
export interface FoundPlugin {
  readonly path: string;
  readonly source: string;
}

/** Names a plugin's library; nothing else is looked for then. */
const VARIABLE = "MADFORMER_PJRT_PLUGIN";

/**
 * What `madformer engines install` brings, the first that is there: the wheel with the plugin, and where its library
 * lies in the wheels' layout.
 */
const INSTALLS = {
  "xla-cuda13": ["jax-cuda13-pjrt", join("jax_plugins", "xla_cuda13", "xla_cuda_plugin.so")],
  "xla-cuda12": ["jax-cuda12-pjrt", join("jax_plugins", "xla_cuda12", "xla_cuda_plugin.so")],
  "xla-rocm7": ["jax-rocm7-pjrt", join("jax_plugins", "xla_rocm7", "xla_rocm_plugin.so")],
  "xla-cpu": ["lammps-jax-pjrt-cpu", join("lammps_jax_pjrt_cpu", "pjrt_c_api_cpu_plugin.so")],
} as const;

/** Which plugin is to be loaded, if there is any. */
export function findPlugin(): FoundPlugin | undefined {
  const told = process.env[VARIABLE];
  if (told) return { path: resolve(told), source: VARIABLE };
  for (const [source, [, file]] of Object.entries(INSTALLS)) {
    const folder = installFolder(source);
    if (readInstalled(folder) !== undefined) return { path: join(folder, file), source };
  }
  return undefined;
}

/** Which plugin that is, for keys: what is installed, or the library's bytes. Nothing is loaded. */
export function pluginRuntime(): Runtime {
  const told = process.env[VARIABLE];
  if (!told) return firstRuntime(Object.entries(INSTALLS).map(([name, [wheel]]) => installedRuntime(name, wheel)));
  const path = resolve(told);
  const digest = digestOfFile(path);
  return { ...(digest === undefined ? {} : { version: `${basename(path)} ${digest.slice(0, 12)}` }), places: [path] };
}

const digests = new Map<string, string>();

/** The SHA-256 of a file, made once for each time that it was changed; of none there is none. */
export function digestOfFile(path: string): string | undefined {
  let file;
  try {
    file = openSync(path, "r");
    const { size, mtimeMs, ino } = fstatSync(file);
    const key = JSON.stringify([path, size, mtimeMs, ino]);
    const known = digests.get(key);
    if (known !== undefined) return known;
    const hash = createHash("sha256");
    const chunk = Buffer.allocUnsafe(4 << 20);
    for (let read = readSync(file, chunk); read > 0; read = readSync(file, chunk)) hash.update(chunk.subarray(0, read));
    const digest = hash.digest("hex");
    digests.set(key, digest);
    return digest;
  } catch {
    return undefined;
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

/**
 * NVIDIA's libraries, below `nvidia/` of the folder that the wheels were unpacked into, in an order in which each
 * finds those that it needs. The plugin asks for them by their names alone.
 *
 * Source: github.com/jax-ml/jax, jax_plugins/cuda/__init__.py, _load_nvidia_libraries.
 */
const NVIDIA_LIBRARIES = [
  /^libcudart\.so\.\d+$/,
  /^libnvrtc\.so\.\d+$/,
  /^libnvJitLink\.so\.\d+$/,
  /^libcublasLt\.so\.\d+$/,
  /^libcublas\.so\.\d+$/,
  /^libnccl\.so\.\d+$/,
  /^libcupti\.so\.\d+$/,
  /^libcusparse\.so\.\d+$/,
  /^libcusolver\.so\.\d+$/,
  /^libcufft\.so\.\d+$/,
  /^libnvshmem_host\.so\.\d+$/,
  /^libcudnn\.so\.\d+$/,
] as const;

/** Loads what a plugin for NVIDIA's cards needs, where it lies beside it, and says where its compiler is. */
export function loadNvidiaLibraries(plugin: string): void {
  const nvidia = join(dirname(plugin), "..", "..", "nvidia");
  if (!existsSync(nvidia)) return;
  const folders = readdirSync(nvidia).map((name) => join(nvidia, name));
  const data = folders.find((folder) => existsSync(join(folder, "nvvm")) || existsSync(join(folder, "bin", "ptxas")));
  const flags = process.env["XLA_FLAGS"] ?? "";
  if (data !== undefined && !flags.includes("--xla_gpu_cuda_data_dir"))
    process.env["XLA_FLAGS"] = `${flags} --xla_gpu_cuda_data_dir=${data}`.trim();
  const libraries = folders.flatMap((folder) => filesIn(join(folder, "lib")));
  for (const pattern of NVIDIA_LIBRARIES) {
    const found = libraries.find(({ name }) => pattern.test(name));
    if (found) loadForGood(found.path);
  }
}

function filesIn(folder: string): { readonly name: string; readonly path: string }[] {
  return existsSync(folder) ? readdirSync(folder).map((name) => ({ name, path: join(folder, name) })) : [];
}

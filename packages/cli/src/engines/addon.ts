import { join } from "node:path";
import { compiler, runTool } from "./tools.js";

/** The addon's file, beside the packages. */
export const ADDON_FILE = "tfjs_binding.node";

/**
 * Builds tfjs-node's addon against the TensorFlow of a wheel: its own build is for TensorFlow 2.9. N-API is the same
 * for all versions of Node, and its headers come from npm.
 *
 * @param folder The engine's: `tensorflow/` of the wheel and `node_modules/` of npm in it.
 * @throws {Error} If the compiler fails; the message is its first error.
 */
export async function buildAddon(folder: string, signal?: AbortSignal): Promise<void> {
  const binding = join("node_modules", "@tensorflow", "tfjs-node", "binding");
  const includes = [
    join("node_modules", "node-api-headers", "include"),
    join("tensorflow", "include"),
    join("node_modules", "@tensorflow", "tfjs-node"),
  ];
  const args = [
    ...["-O2", "-shared", "-fPIC", "-std=c++17", "-DNAPI_VERSION=8", "-w"],
    ...includes.flatMap((include) => ["-I", include]),
    ...["tfjs_backend.cc", "tfjs_binding.cc"].map((file) => join(binding, file)),
    ...["-L", "tensorflow", "-l:libtensorflow_cc.so.2", "-l:libtensorflow_framework.so.2"],
    "-Wl,-rpath,$ORIGIN/tensorflow", // no shell reads this
    ...["-o", ADDON_FILE],
  ];
  await runTool(compiler(), args, { cwd: folder, ...(signal && { signal }) });
}

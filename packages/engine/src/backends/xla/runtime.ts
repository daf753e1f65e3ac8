import { Client } from "./client.js";
import type { NamedValues } from "./named-values.js";
import { Plugin } from "./plugin.js";
import { findPlugin, loadNvidiaLibraries } from "./plugin-path.js";

/** The one client of this process, and where its plugin came from. */
export interface Runtime {
  readonly client: Client;
  readonly source: string;
}

/** What a GPU's client is made with: memory is taken as it is needed, and nearly all of it may be. */
const GPU_OPTIONS: NamedValues = { preallocate: false, memory_fraction: 0.95 };

/** The interface can have several devices; programs here use one. */
const CPU_OPTIONS: NamedValues = { cpu_device_count: 1n };

let runtime: Runtime | undefined;

/**
 * Loads the plugin at the first call, for the rest of the process.
 *
 * @throws {Error} If there is none, it cannot be loaded here, or it finds no device.
 */
export function xlaRuntime(): Runtime {
  return (runtime ??= start());
}

function start(): Runtime {
  const found = findPlugin();
  if (!found)
    throw new Error(
      "no PJRT plugin is installed; madformer engines install xla-cpu (or xla-cuda13, xla-cuda12, xla-rocm7) installs one",
    );
  const { path, source } = found;
  process.env["TF_CPP_MIN_LOG_LEVEL"] ??= "2"; // else each step of the start is told on stderr
  if (/cuda/.test(path)) loadNvidiaLibraries(path);
  const plugin = Plugin.load(path);
  return { client: new Client(plugin, optionsFor(path)), source };
}

/** Before there is a client nothing but its library's name says which platform it is of. */
function optionsFor(path: string): NamedValues {
  const name = path.split(/[\\/]/).at(-1) ?? "";
  if (/cuda|rocm/.test(name)) return GPU_OPTIONS;
  return /cpu/.test(name) ? CPU_OPTIONS : {};
}

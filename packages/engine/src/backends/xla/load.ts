import { mkdir } from "node:fs/promises";
import { cpus } from "node:os";
import { join } from "node:path";
import type { PrecisionName, ProgramFields } from "../../backend.js";
import { NEXT_STATE, STATE } from "../../graph-names.js";
import { CompiledCache, digestOf, keyOf } from "../../installs/compiled-cache.js";
import type { Graph } from "../../ir/graph.js";
import { lowerToStableHlo } from "../../xla/index.js";
import type { Client } from "./client.js";
import { encodeCompileOptions, type XlaFlags } from "./compile-options.js";
import { Executable, type ResultType } from "./executable.js";
import { XlaExecutor } from "./executor.js";
import { requireFits } from "./fits.js";
import { digestOfFile } from "./plugin-path.js";
import { xlaRuntime } from "./runtime.js";

/** A program this small compiles faster than a file is looked for, and tests compile hundreds. */
const MIN_TEXT_BYTES = 64 << 10;

/**
 * Larger constants are sent to the device beside the program: as text, weights of a billion parameters would be longer
 * than a string can be, and XLA would look at each of them. A program compiled for some weights serves others, too.
 */
const MAX_INLINE_BYTES = 16 << 10;

/** Compiled programs. */
export const cache = new CompiledCache("xla");

export interface XlaOptions {
  readonly precision: PrecisionName;
  /** One makes XLA compute on one thread, on CPUs; of other numbers it knows nothing. */
  readonly threads?: number | undefined;
}

/**
 * Writes a graph as StableHLO and compiles it, or takes what an earlier process compiled. State that runs change is
 * donated: the next is written over it.
 *
 * @throws {Error} If there is no plugin, XLA does not take the program, or it does not fit into the device's memory.
 */
export async function loadXla(graph: Graph, fields: ProgramFields, options: XlaOptions): Promise<XlaExecutor> {
  const { client } = xlaRuntime();
  const { text, constants } = lowerToStableHlo(graph, {
    precision: options.precision,
    donated: donatedOf(graph),
    inlineBytes: MAX_INLINE_BYTES,
  });
  const results = graph.outputs.map(({ node }): ResultType => ({ dtype: node.dtype, shape: node.shape }));
  const count = graph.inputs.length + constants.length;
  const executable = await compiled(client, Buffer.from(text), flagsFor(client, options), count, results);
  try {
    await client.exclusive(() => requireFits(graph.name, executable.memory(), client.memory()));
  } catch (error) {
    await client.exclusive(() => executable[Symbol.dispose]());
    throw error;
  }
  const names = { inputs: graph.inputs.map(({ op }) => op.name), outputs: graph.outputs.map(({ name }) => name) };
  return XlaExecutor.make(executable, fields, names, constants);
}

/** Which input each next state may be written over. */
function donatedOf({ inputs, outputs }: Graph): Map<number, number> {
  const places = new Map(outputs.map(({ name }, i) => [name, i]));
  return new Map(
    inputs.flatMap(({ op }, i): [number, number][] => {
      if (!op.name.startsWith(STATE)) return [];
      const output = places.get(NEXT_STATE + op.name.slice(STATE.length));
      return output === undefined ? [] : [[i, output]];
    }),
  );
}

/**
 * XLA's flags for a platform. On CPUs the larger of NaN and a number would be the number. Those of GPUs make two runs
 * of one program the same to the bit.
 */
function flagsFor({ platform }: Client, { threads }: XlaOptions): XlaFlags {
  if (platform === "cpu")
    return { xla_cpu_enable_fast_min_max: false, ...(threads === 1 ? { xla_cpu_multi_thread_eigen: false } : {}) };
  if (platform === "cuda") return { xla_gpu_exclude_nondeterministic_ops: true };
  return {};
}

async function compiled(
  client: Client,
  text: Uint8Array,
  flags: XlaFlags,
  argumentCount: number,
  results: readonly ResultType[],
): Promise<Executable> {
  const isSmall = text.byteLength < MIN_TEXT_BYTES;
  const options = encodeCompileOptions(flags);
  const compile = async (persisted: XlaFlags): Promise<Executable> =>
    client.exclusive(() =>
      Executable.compile(client, text, encodeCompileOptions({ ...flags, ...persisted }), argumentCount, results),
    );
  if (isSmall || !client.plugin.has("Executable_DeserializeAndLoad")) return compile({});
  const key = keyOf([digestOf(text), digestOf(options), machineOf(client)]);
  const known = await cache.find(key, (bytes) =>
    client.exclusive(() => Executable.load(client, bytes, argumentCount, results)),
  );
  if (known) return known;
  const made = await compile(await autotuningOf(client));
  if (client.plugin.has("Executable_Serialize"))
    await cache.keep(key, await client.exclusive(() => made.serialize())).catch(() => undefined);
  return made;
}

/** On NVIDIA's cards XLA tries kernels; what it has found is kept, too, for programs that have parts in common. */
async function autotuningOf({ platform }: Client): Promise<XlaFlags> {
  if (platform !== "cuda") return {};
  const folder = join(cache.folder, "autotuning");
  const made = await mkdir(folder, { recursive: true }).then(
    () => true,
    () => false,
  );
  return made ? { xla_gpu_per_fusion_autotune_cache_dir: folder } : {};
}

/**
 * What else a compiled program depends on: the plugin's bytes, the device, on CPUs the processor, and the flags that
 * XLA takes from the environment.
 */
function machineOf(client: Client): readonly string[] {
  const { plugin, platform, platformVersion, deviceKind } = client;
  const processor = platform === "cpu" ? (cpus()[0]?.model ?? "") : "";
  const flags = process.env["XLA_FLAGS"] ?? "";
  return [digestOfFile(plugin.path) ?? "", platform, platformVersion, deviceKind, process.arch, processor, flags];
}

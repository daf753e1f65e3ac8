import type { BackendState } from "../../backend.js";
import type { Client } from "./client.js";
import { findPlugin } from "./plugin-path.js";
import { xlaRuntime } from "./runtime.js";

/** Whether there is a plugin that works here: its versions, its device, and how much memory that has. */
export function xlaState(): BackendState {
  try {
    const { client, source } = xlaRuntime();
    const { major, minor } = client.plugin.version;
    return {
      version: `${major}.${minor}`,
      devices: [client.platform === "cpu" ? "cpu" : `gpu (${client.deviceKind})`],
      notes: [`from ${source}: ${versionsOf(client)}; ${memoryOf(client)}`],
    };
  } catch (error) {
    const { message } = error as Error;
    const source = findPlugin()?.source ?? "";
    const advice = source.startsWith("xla-") ? `; madformer engines install ${source} installs it anew` : "";
    return { devices: [], problem: `${message}${advice}` };
  }
}

/** Versions of the interface, of XLA's and StableHLO, and what the platform says of its own. */
function versionsOf({ plugin, platform, platformVersion }: Client): string {
  const { version, attributes } = plugin;
  const own = platformVersion.replace(/\s+/g, " ").trim();
  return [
    `PJRT ${version.major}.${version.minor}`,
    `XLA ${attributes.get("xla_version") ?? "unknown"}`,
    `StableHLO ${attributes.get("stablehlo_current_version") ?? "unknown"}`,
    own === platform ? platform : `${platform}: ${own}`,
  ].join(", ");
}

function memoryOf(client: Client): string {
  const { used, limit } = client.memory();
  if (client.platform === "cpu" || !Number.isFinite(limit)) return "memory of the machine";
  return `${gibibytes(limit - used)} of ${gibibytes(limit)} free`;
}

/** Bytes for people: `1.5 GiB`. */
export function gibibytes(bytes: number): string {
  const gib = bytes / 2 ** 30;
  return gib >= 0.1 ? `${gib.toFixed(1)} GiB` : `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}

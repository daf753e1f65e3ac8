import { existsSync } from "node:fs";
import { dirname, join, resolve } from "node:path";

/**
 * Where engines lie that npm does not bring: `MADFORMER_ENGINES`, else `.madformer/engines` of the workspace, which is
 * the nearest folder upwards with an `nx.json`; outside of a workspace, of the current folder.
 */
export function enginesFolder(from = process.cwd()): string {
  const told = process.env["MADFORMER_ENGINES"];
  return told ? resolve(told) : join(workspaceOf(from) ?? from, ".madformer", "engines");
}

/** Where one of them lies, as `madformer engines install` lays it. */
export function installFolder(name: string): string {
  return join(enginesFolder(), name);
}

function workspaceOf(folder: string): string | undefined {
  if (existsSync(join(folder, "nx.json"))) return folder;
  return folder === dirname(folder) ? undefined : workspaceOf(dirname(folder));
}

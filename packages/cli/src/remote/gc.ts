import { collectRemote, readRoots, Store, type Collected } from "@madformer/artifacts";
import type { Io } from "../program.js";
import { requireRemote } from "./open.js";

/** So many things that are not the store's are named. */
const NAMED = 10;

export interface CollectThere {
  readonly root: string;
  readonly since: Date;
  readonly waitMs: number;
  readonly dryRun: boolean;
  readonly json: boolean;
}

/** `madformer gc --remote`: frees in the remote store what no pipeline shows any more. */
export async function collectThere({ root, since, waitMs, dryRun, json }: CollectThere, io: Io): Promise<void> {
  const store = Store.at(root);
  const { roots } = await readRoots(store, root, false);
  const keys = roots.flatMap((one) => [...one.keys, ...one.made.map(({ record }) => record.key)]);
  await using remote = await requireRemote(root, store, io);
  const found = await collectRemote(remote, { roots: keys, since, waitMs, dryRun });
  io.out(json ? `${JSON.stringify({ remote: remote.name, ...found }, null, 2)}\n` : report(found, remote.name));
}

function report({ phase, gone, kept, removableAt, strangers }: Collected, name: string): string {
  const of = ({ keys, records, objects, bytes }: Collected["gone"]): string =>
    `${keys} keys, ${records} records and ${objects} objects (${(bytes / 2 ** 20).toFixed(1)} MiB)`;
  const hint = removableAt === undefined ? "" : `; the same command removes it after ${removableAt}`;
  const first = {
    looked: `Would remove ${of(gone)} from ${name}`,
    marked: `Marked ${of(gone)} of ${name}${hint}`,
    waiting: `Nothing was removed from ${name}: what was marked still waits${hint}`,
    removed: `Removed ${of(gone)} from ${name}`,
  }[phase];
  const lines = [first, `${phase === "looked" ? "Would keep" : "Kept"} ${of(kept)}`];
  if (phase === "looked") lines.push("--delete marks what would go; given again, it removes it");
  if (strangers.length > 0) {
    const more = strangers.length > NAMED ? ` and ${strangers.length - NAMED} more` : "";
    const named = strangers.slice(0, NAMED).map((path) => JSON.stringify(path));
    lines.push(`Left alone what is not the store's: ${named.join(", ")}${more}`);
  }
  return `${lines.join("\n")}\n`;
}

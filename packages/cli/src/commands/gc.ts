import { join } from "node:path";
import { readdir } from "node:fs/promises";
import { collectGarbage, readManifest, readRecord, Store, type Made } from "@madformer/artifacts";
import { ConfigError } from "@madformer/stage";
import { Command } from "commander";
import type { Io } from "../program.js";
import { pipelineNames, workspaceRoot } from "../workspace.js";

/** `madformer gc`: frees what no pipeline shows any more. */
export function gcCommand(io: Io): Command {
  return new Command("gc")
    .summary("remove from the store what nothing needs")
    .description(
      "Remove from the store what no pipeline shows as its output (pipelines/*/out) and what is older than some days, together\n" +
        "with old work of interrupted stages. What is removed is made again when it is asked for.",
    )
    .option("--older-than <days>", "keep what was made within so many days, although no pipeline shows it", "7")
    .option("--dry-run", "only say what would be removed")
    .option("--debug", "show where an error comes from (or set MADFORMER_DEBUG)")
    .helpOption("-h, --help", "print this help")
    .action(async ({ olderThan, dryRun = false }: { readonly olderThan: string; readonly dryRun?: boolean }) => {
      const days = Number(olderThan);
      if (!(Number.isFinite(days) && days >= 0 && olderThan.trim() !== ""))
        throw new ConfigError(`--older-than is ${JSON.stringify(olderThan)}, expected a number of days`);
      const root = workspaceRoot();
      const since = new Date(Date.now() - days * 86_400_000);
      const { removed, kept } = await collectGarbage(Store.at(root), { roots: await shown(root), since, dryRun });
      const verb = dryRun ? "Would remove" : "Removed";
      io.out(
        `${verb} ${removed.objects} objects (${megabytes(removed.bytes)}), ${removed.keys} keys and ${removed.works} interrupted works; ` +
          `${kept.objects} objects (${megabytes(kept.bytes)}) stay\n`,
      );
    });
}

const megabytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

/** What all pipelines show as their output. */
async function shown(root: string): Promise<Made[]> {
  const made: Made[] = [];
  for (const pipeline of await pipelineNames(root)) {
    const out = join(root, "pipelines", pipeline, "out");
    for (const stage of await readdir(out).catch(() => [])) {
      const [manifest, record] = [await readManifest(join(out, stage)), await readRecord(join(out, stage))];
      if (manifest && record) made.push({ manifest, record });
    }
  }
  return made;
}

import { collectGarbage, Store, type GcResult } from "@madformer/artifacts";
import { ConfigError } from "@madformer/stage";
import { Command } from "commander";
import type { Io } from "../program.js";
import { collectThere } from "../remote/gc.js";
import { workspaceRoot } from "../workspace.js";

interface Options {
  readonly olderThan: string;
  readonly dryRun?: boolean;
  readonly remote?: boolean;
  readonly delete?: boolean;
  readonly wait: string;
  readonly json?: boolean;
}

/** So many files that are no objects are named. */
const NAMED = 10;

/** `madformer gc`: frees what no pipeline shows any more. */
export function gcCommand(io: Io): Command {
  return new Command("gc")
    .summary("remove from the store what nothing needs")
    .description(
      "Remove from the store what no workspace that uses it shows as its output (pipelines/*/out, points\n" +
        "of sweeps) and what is older than some days, together with old work of interrupted stages and locks of dead\n" +
        "processes. What is removed is made again when it is asked for.",
    )
    .option("--older-than <days>", "keep what was made within so many days, although no pipeline shows it", "7")
    .option("--dry-run", "only say what would be removed, and whose outputs are kept")
    .option(
      "--remote",
      "look at the remote store instead: what no pipeline here shows, and is older (default: 30 days); only counts",
    )
    .option("--delete", "of --remote: mark what would go; given again when the wait is over, remove it")
    .option(
      "--wait <hours>",
      "of --remote --delete: how long marked things wait; a run that pushes keeps what it needs",
      "24",
    )
    .option("--json", "of --remote: print JSON for programs")
    .option("--debug", "show where an error comes from (or set MADFORMER_DEBUG)")
    .helpOption("-h, --help", "print this help")
    .action(async (options: Options, command: Command) => {
      const { dryRun = false } = options;
      if (options.remote !== true) {
        const idle = ["delete", "wait"].find((name) => command.getOptionValueSource(name) === "cli");
        if (idle !== undefined) throw new ConfigError(`--${idle} has no effect without --remote`);
      }
      const isDefault = command.getOptionValueSource("olderThan") !== "cli";
      const olderThan = options.remote === true && isDefault ? "30" : options.olderThan;
      const days = numberOf("--older-than", olderThan, "days");
      const workspace = workspaceRoot();
      const since = new Date(Date.now() - days * 86_400_000);
      if (options.remote === true) {
        const waitMs = numberOf("--wait", options.wait, "hours") * 3_600_000;
        const isDry = dryRun || options.delete !== true;
        return await collectThere({ root: workspace, since, waitMs, dryRun: isDry, json: options.json === true }, io);
      }
      if (options.json === true) throw new ConfigError("--json has no effect without --remote");
      const onWait = (message: string): void => io.err(`${message}\n`);
      io.out(report(await collectGarbage(Store.at(workspace), { workspace, since, dryRun, onWait }), dryRun));
    });
}

function numberOf(option: string, text: string, unit: string): number {
  const number = Number(text);
  if (Number.isFinite(number) && number >= 0 && text.trim() !== "") return number;
  throw new ConfigError(`${option} is ${JSON.stringify(text)}, expected a number of ${unit}`);
}

/** What was done, or would be, in a few lines. */
function report({ removed, kept, workspaces, gone, strangers }: GcResult, dryRun: boolean): string {
  const parts = [
    `${count(removed.objects, "object")} (${megabytes(removed.bytes)})`,
    count(removed.keys, "key"),
    count(removed.works, "interrupted work"),
    count(removed.locks, "dead lock"),
    count(removed.temporaries, "unfinished file"),
  ];
  const lines = [
    `${dryRun ? "Would remove" : "Removed"} ${parts.slice(0, -1).join(", ")} and ${parts.at(-1)}`,
    `${dryRun ? "Would keep" : "Kept"} ${count(kept.objects, "object")} (${megabytes(kept.bytes)}) and ${count(kept.keys, "key")}, ` +
      `with all outputs of ${count(workspaces.length, "workspace")}`,
  ];
  const here = workspaces[0]?.host;
  if (dryRun)
    for (const { host, workspace, outputs } of workspaces)
      lines.push(
        `  ${JSON.stringify(workspace)}${host === here ? "" : ` on ${JSON.stringify(host)}`}: ${count(outputs, "output")}`,
      );
  for (const workspace of gone)
    lines.push(`${dryRun ? "Would forget" : "Forgot"} ${JSON.stringify(workspace)}, which is gone`);
  if (strangers.length > 0) {
    const named = strangers.slice(0, NAMED).map((name) => JSON.stringify(name));
    const more = strangers.length > NAMED ? ` and ${strangers.length - NAMED} more` : "";
    lines.push(`Left alone what is not the store's: ${named.join(", ")}${more}`);
  }
  return `${lines.join("\n")}\n`;
}

const megabytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

const count = (number: number, what: string): string => `${number} ${what}${number === 1 ? "" : "s"}`;

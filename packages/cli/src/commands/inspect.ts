import { openDataFile } from "@madformer/artifacts";
import { Command } from "commander";
import { nameFilter } from "../inspect/filter.js";
import { formatSummary } from "../inspect/format.js";
import { summaryToJson } from "../inspect/json.js";
import { summarize } from "../inspect/summary.js";
import type { Io } from "../program.js";

interface Options {
  readonly json?: boolean;
  readonly stats?: boolean;
  readonly filter?: string;
}

/** `madformer inspect FILE`: what is inside a file of weights or arrays. */
export function inspectCommand(io: Io): Command {
  return new Command("inspect")
    .summary("list what is inside a file of weights or arrays")
    .description(
      "List what is inside a file of weights or arrays: safetensors, PyTorch (.pt, .pth, .bin), numpy (.npy, .npz).\n" +
        "The kind is recognized by content. Nothing in the file is run, and only what is asked for is read.",
    )
    .argument("<file>", "the file")
    .option("--json", "print JSON for programs instead of a table for people")
    .option("--stats", "read each tensor, one at a time, and print its minimum, maximum, mean and standard deviation")
    .option("--filter <pattern>", "only tensors whose name contains PATTERN, or matches it if it has * or ?")
    .option("--debug", "show where an error comes from (or set MADFORMER_DEBUG)")
    .helpOption("-h, --help", "print this help")
    .addHelpText(
      "after",
      `
Examples:
  madformer inspect weights.safetensors
  madformer inspect 0010000.pt --filter 'ema.*.weight' --stats
  madformer inspect stats.npz --json`,
    )
    .action(async (path: string, options: Options) => {
      const opened = await openDataFile(path);
      await using _ = opened.file;
      const summary = await summarize(path, opened, {
        stats: options.stats ?? false,
        keep: options.filter === undefined ? undefined : nameFilter(options.filter),
      });
      io.out(options.json ? `${JSON.stringify(summaryToJson(summary), null, 2)}\n` : formatSummary(summary));
    });
}

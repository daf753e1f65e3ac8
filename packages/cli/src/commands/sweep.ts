import { resolve } from "node:path";
import { ConfigError } from "@madformer/stage";
import { stagesOf } from "@madformer/sweep";
import { Command } from "commander";
import { ExitCode } from "../exit.js";
import type { Io } from "../program.js";
import { knowingOf, openSweep } from "../sweeps/open.js";
import { writeSweep } from "../sweeps/page.js";
import { lookAhead, planText } from "../sweeps/plan.js";
import { runSweep } from "../sweeps/run.js";
import { sweepTable, tableText } from "../sweeps/table.js";

const MAX_PARALLEL = 64;

/** `madformer sweep plan|run|table|plot`: many points of one pipeline. */
export function sweepCommand(io: Io): Command {
  const command = new Command("sweep")
    .summary("run a pipeline at many settings, and compare them")
    .description(
      "Run a pipeline at all points of a sweep (sweeps/<name>.json), in which fields of its stages' configs take several values.\n" +
        "Stages that points have in common run once; what was run before is reused.",
    )
    .helpCommand(false);
  for (const one of [planCommand(io), runCommand(io), tableCommand(io), plotCommand(io)])
    command.addCommand(
      one
        .option("--debug", "show where an error comes from (or set MADFORMER_DEBUG)")
        .helpOption("-h, --help", "print this help"),
    );
  return command.helpOption("-h, --help", "print this help");
}

function planCommand(io: Io): Command {
  return new Command("plan")
    .summary("say how many stages would run, and how long that takes")
    .description("Check a sweep, and say how many stages would run, are reused, and how long it takes. Runs nothing.")
    .argument("<name>", "such as smoke-steps")
    .option("--parallel <number>", "stages that would run at a time", "1")
    .option("--json", "print JSON for programs")
    .action(async (name: string, options: { readonly parallel: string; readonly json?: boolean }) => {
      const parallel = parallelOf(options.parallel);
      const open = await openSweep(name);
      const planned = await lookAhead(open.jobs, await knowingOf(open.jobs), new AbortController().signal, io);
      if (options.json !== true) return io.out(planText(open, planned, parallel));
      const points = open.runs.map(({ name, values }) => ({ name, values }));
      io.out(`${JSON.stringify({ sweep: open.sweep.name, points, stages: stagesOf(planned) }, null, 2)}\n`);
    });
}

function runCommand(io: Io): Command {
  return new Command("run")
    .summary("run what is not there yet")
    .description(
      "Run all points, whatever of them is not there yet. If one fails, the others go on; it is named at the end. The same\n" +
        "command again goes on where it was interrupted.",
    )
    .argument("<name>", "such as smoke-steps")
    .option("--parallel <number>", "stages that run at a time; each uses all cores", "1")
    .option("--point <name>", "only this point")
    .addHelpText("after", "\nExit codes: 0 done, 1 a point failed, 2 wrong usage or sweep, 130 interrupted by Ctrl-C.")
    .action(async (name: string, options: { readonly parallel: string; readonly point?: string }) => {
      const parallel = parallelOf(options.parallel);
      const open = await openSweep(name);
      const { made, reused, failed } = await runSweep(open, { parallel, point: options.point }, io);
      if (options.point === undefined) {
        const { files, table } = await writeSweep(open);
        io.out(`\n${tableText(table, "markdown")}\n`);
        io.out(`${made} made, ${reused} reused\nPage: ${resolve(files[0] ?? "")}\n`);
      }
      if (failed.length > 0) throw new ExitCode(1);
    });
}

function tableCommand(io: Io): Command {
  return new Command("table")
    .summary("print its numbers: mean and spread over seeds, the best in bold")
    .description(
      "Print the table that the sweep's file asks for, of what has run: mean and spread over seeds, the best in bold.",
    )
    .argument("<name>", "such as smoke-steps")
    .option("--format <markdown|csv|latex|json>", "how it is written", "markdown")
    .action(async (name: string, { format }: { readonly format: string }) => {
      const { table } = await sweepTable(await openSweep(name));
      io.out(tableText(table, format));
    });
}

function plotCommand(io: Io): Command {
  return new Command("plot")
    .summary("write its plots as SVG, its tables, and a page with all of it")
    .description(
      "Write what has run so far into sweeps/out/<name>: the plot that the sweep's file asks for and the score against network\n" +
        "evaluations and time as SVG, the table in all forms, and index.html, a page with all of it, samples, and links to reports.",
    )
    .argument("<name>", "such as smoke-steps")
    .action(async (name: string) => {
      const { files } = await writeSweep(await openSweep(name));
      io.out(`${files.join("\n")}\n`);
    });
}

function parallelOf(text: string): number {
  const parallel = Number(text);
  if (Number.isInteger(parallel) && parallel >= 1 && parallel <= MAX_PARALLEL) return parallel;
  throw new ConfigError(`--parallel is ${JSON.stringify(text)}, expected a number from 1 to ${MAX_PARALLEL}`);
}

import { join } from "node:path";
import { ConfigError, nearest } from "@madformer/stage";
import { Command } from "commander";
import { INSTALLABLE, requirementsOf, type Installable } from "../engines/catalog.js";
import { installEngine, removeEngine } from "../engines/install.js";
import type { Io } from "../program.js";

/** `madformer engines`: what programs can run on here, and how to get more. */
export function enginesCommand(io: Io): Command {
  const command = new Command("engines")
    .summary("list the engines that programs can run on; install and remove them")
    .description(
      "List the engines that programs can run on: their versions, devices and precisions on this machine, and of those that cannot be\n" +
        "used, why not and what to do. docs/engines.md says which is for whom.",
    )
    .option("--json", "print JSON for programs")
    .option("--debug", "show where an error comes from (or set MADFORMER_DEBUG)")
    .helpOption("-h, --help", "print this help")
    .addHelpText("after", "\nExamples:\n  madformer engines\n  madformer engines install openvino")
    .action(async ({ json = false }: { json?: boolean }) => {
      const { engineStates, enginesFolder, readInstalled } = await import("@madformer/engine");
      const states = engineStates();
      const engines = enginesFolder();
      const installed = INSTALLABLE.map(({ name }) => ({ name, installed: readInstalled(join(engines, name)) }));
      if (json) {
        io.out(`${JSON.stringify({ engines: states, folder: engines, installable: installed }, null, 2)}\n`);
        return;
      }
      const rows = states.map(({ name, version, devices, precisions, problem }) => [
        name,
        version ?? "-",
        devices.join(", ") || "-",
        precisions.join(", "),
        problem === undefined ? "yes" : "no",
      ]);
      io.out(table([["engine", "version", "devices", "precisions", "usable"], ...rows]));
      for (const { name, problem, notes = [] } of states)
        for (const line of problem === undefined ? notes : [problem]) io.out(`${name}: ${line}\n`);
      const more = installed.filter((one) => one.installed === undefined).map(({ name }) => name);
      if (more.length > 0) io.out(`Can be installed: ${more.join(", ")} (madformer engines install <name>)\n`);
    });
  command.addCommand(installCommand(io));
  command.addCommand(removeCommand(io));
  return command;
}

function installCommand(io: Io): Command {
  return new Command("install")
    .summary("fetch an engine and unpack it into .madformer/engines")
    .description(
      "Fetch an engine with pip and unpack it into .madformer/engines (or where MADFORMER_ENGINES says). Versions and digests are\n" +
        "fixed. Python is needed to install, not to run. The same command again goes on where one was interrupted.",
    )
    .argument("<name>", INSTALLABLE.map(({ name, summary }) => `${name}: ${summary}`).join("; "))
    .option("--dry-run", "only say what would be fetched, and under which licence")
    .option("--debug", "show where an error comes from (or set MADFORMER_DEBUG)")
    .helpOption("-h, --help", "print this help")
    .action(async (name: string, { dryRun = false }: { dryRun?: boolean }) => {
      const engine = engineNamed(name);
      const { enginesFolder } = await import("@madformer/engine");
      const engines = enginesFolder();
      const list = [...requirementsOf(engine).map(({ wheel }) => wheel), ...Object.keys(engine.npm)].join(", ");
      io.err(
        `${engine.summary}. Licence: ${engine.license}.\n${list}: ${megabytes(engine.downloadBytes)} to fetch, ` +
          `${megabytes(engine.installedBytes)} in ${JSON.stringify(join(engines, name))}\n`,
      );
      if (dryRun) return;
      const folder = await installEngine(engine, { engines, say: (line) => io.err(`${line}\n`) });
      io.out(`Installed ${name} in ${JSON.stringify(folder)}; its licences lie there, in *.dist-info\n`);
    });
}

function removeCommand(io: Io): Command {
  return new Command("remove")
    .summary("remove an engine that was installed")
    .description("Remove an engine from .madformer/engines, with what was compiled for it.")
    .argument("<name>", INSTALLABLE.map(({ name }) => name).join(", "))
    .option("--debug", "show where an error comes from (or set MADFORMER_DEBUG)")
    .helpOption("-h, --help", "print this help")
    .action(async (name: string) => {
      const engine = engineNamed(name);
      const { enginesFolder } = await import("@madformer/engine");
      const removed = await removeEngine(engine.name, enginesFolder());
      io.out(removed ? `Removed ${name}\n` : `${name} was not installed\n`);
    });
}

function engineNamed(name: string): Installable {
  const names = INSTALLABLE.map((engine) => engine.name);
  const found = INSTALLABLE.find((engine) => engine.name === name);
  if (found) return found;
  const near = nearest(name, names);
  throw new ConfigError(
    `Cannot find the engine ${JSON.stringify(name)}, expected one of: ${names.join(", ")}${near === undefined ? "" : `; did you mean ${near}?`}`,
  );
}

const megabytes = (bytes: number): string => `${Math.round(bytes / 10 ** 6)} MB`;

/** Columns as wide as their widest cell. */
function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows
    .map(
      (row) =>
        `${row
          .map((cell, i) => cell.padEnd(widths[i]!))
          .join("  ")
          .trimEnd()}\n`,
    )
    .join("");
}

import { readFileSync } from "node:fs";
import { ConfigError } from "@madformer/stage";
import { Command, CommanderError } from "commander";
import { compareCommand } from "./commands/compare.js";
import { enginesCommand } from "./commands/engines.js";
import { explainCommand } from "./commands/explain.js";
import { gcCommand } from "./commands/gc.js";
import { inspectCommand } from "./commands/inspect.js";
import { pullCommand } from "./commands/pull.js";
import { pushCommand } from "./commands/push.js";
import { sweepCommand } from "./commands/sweep.js";
import { verifyCommand } from "./commands/verify.js";
import { ExitCode } from "./exit.js";
import { stageCommand } from "./stages/command.js";
import { suggestCommand, suggestOption } from "./stages/suggest.js";
import { STAGES } from "./stages/table.js";

/** Where a command's output goes. Results go to `out`, all else to `err`. */
export interface Io {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  /** Where stages show how they are doing; standard error by default. */
  readonly stream?: NodeJS.WriteStream;
  /** Width of the terminal, if `out` is one. */
  readonly columns?: number | undefined;
  /** Whether errors show where they come from. */
  readonly debug?: boolean;
}

/** One subcommand. It throws what went wrong. */
export type MakeCommand = (io: Io) => Command;

/** All subcommands that are no stages, in the order of `--help`. */
const COMMANDS: readonly MakeCommand[] = [
  sweepCommand,
  compareCommand,
  explainCommand,
  pullCommand,
  pushCommand,
  verifyCommand,
  gcCommand,
  enginesCommand,
  inspectCommand,
];

const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
  version: string;
};

const EXIT = { done: 0, failed: 1, usage: 2 } as const;

/**
 * Runs `madformer` with these arguments.
 *
 * @returns The exit code: 0 done, 1 failed, 2 wrong usage.
 */
export async function run(args: readonly string[], io: Io): Promise<number> {
  const program = new Command("madformer")
    .description("MADFormer: images by blocks, autoregressive across them and diffusion within.")
    .version(version, "-V, --version", "print the version")
    .helpOption("-h, --help", "print this help")
    .helpCommand("help [command]", "print the help of a command")
    .option("--debug", "show where an error comes from (or set MADFORMER_DEBUG)")
    .addHelpText("after", "\nExit codes: 0 done, 1 failed, 2 wrong usage.");
  program.commandsGroup("Stages:");
  // A stage's options come from its config, and its package brings an engine: only the one that is asked for is loaded.
  const asked = args.find((arg) => STAGES.some(({ name }) => name === arg));
  for (const { name, summary, load } of STAGES)
    program.addCommand(name === asked ? stageCommand(await load(), io, args) : new Command(name).summary(summary));
  program.commandsGroup("Commands:");
  for (const make of COMMANDS) program.addCommand(make(io));
  const below = program.commands.flatMap((command) => [command, ...command.commands]);
  for (const command of [program, ...below]) {
    command.exitOverride().showHelpAfterError(`(${pathOf(command)} --help says more)`);
    command.showSuggestionAfterError(false); // ours know more words
    command.configureOutput({
      writeOut: io.out,
      writeErr: io.err,
      outputError: (text, write) => write(withSuggestion(text, command)),
    });
    if (io.columns !== undefined) command.configureOutput({ getOutHelpWidth: () => Math.min(io.columns ?? 100, 100) });
  }
  try {
    if (args.length === 0) {
      program.outputHelp({ error: true });
      return EXIT.usage;
    }
    await program.parseAsync(args, { from: "user" });
    return EXIT.done;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.usage; // it has printed why
    if (error instanceof ExitCode) return error.code;
    const debug = io.debug === true || program.opts<{ debug?: boolean }>().debug === true || args.includes("--debug");
    io.err(`${describe(error, debug)}\n`);
    return error instanceof ConfigError ? EXIT.usage : EXIT.failed;
  }
}

/** `madformer sweep run` */
function pathOf(command: Command): string {
  return command.parent === null ? command.name() : `${pathOf(command.parent)} ${command.name()}`;
}

/** What commander says of a word that it does not know, with what may have been meant. */
function withSuggestion(text: string, command: Command): string {
  const [, what, word = ""] = /^error: unknown (option|command) '(.*)'\s*$/s.exec(text) ?? [];
  const flags = command.options.flatMap(({ long, hidden }) => (long && !hidden ? [long.slice(2)] : []));
  const names = command.commands.map((one) => one.name());
  const hint = what === "option" ? suggestOption(word, flags) : what && suggestCommand(word, names);
  return hint ? `${text.trimEnd()}\n(${hint})\n` : text;
}

/** An error in one sentence, or with its stack and causes. */
function describe(error: unknown, debug: boolean): string {
  if (!(error instanceof Error)) return `Error: ${String(error)}`;
  if (!debug) return error.message;
  const cause = error.cause === undefined ? "" : `\nCaused by: ${describe(error.cause, debug)}`;
  return `${error.stack ?? error.message}${cause}`;
}

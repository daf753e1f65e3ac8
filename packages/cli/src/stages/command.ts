import { readFile } from "node:fs/promises";
import { reasonOf, type Artifact } from "@madformer/artifacts";
import {
  computeOf,
  ConfigError,
  configSchema,
  fieldAt,
  guarded,
  parseConfig,
  runInFolder,
  VARIABLES,
  withField,
  type ComputeWords,
  type Inputs,
  type InputSpecs,
  type Schema,
  type Stage,
} from "@madformer/stage";
import { Command, Option } from "commander";
import { ExitCode } from "../exit.js";
import type { Io } from "../program.js";
import { guideText } from "./guide.js";
import { openInput } from "./inputs.js";
import { flagOf, optionsOf, valueOf } from "./options.js";
import { commandDigest } from "./command-digest.js";

/** Options of every stage, beside those of its config and its inputs. */
const COMMON = ["out", "config", "dry-run", "debug", "help"];

type Values = Readonly<Record<string, string | boolean | undefined>>;

/**
 * `madformer <stage>`: the stage without a pipeline. Inputs are folders, the config is `--config` with options on top,
 * the output goes to `--out`; the same command again goes on where it was interrupted.
 *
 * @param args Of the command: help shows the values of the presets that they name.
 */
export function stageCommand(stage: Stage<never>, io: Io, args: readonly string[] = []): Command {
  const schema = configSchema(stage);
  const fields = optionsOf(schema, wordsIn(args));
  const compute = computeOptions(stage);
  const taken = new Set([
    ...COMMON,
    ...compute.map((option) => option.name()),
    ...fields.map(({ path }) => flagOf(path)),
  ]);
  const command = new Command(stage.name)
    .summary(stage.summary)
    .description(`${sentence(stage.summary)}\nThe same command again goes on where it was interrupted.`);
  const flags = Object.entries(stage.inputs).map(([name, input]) => ({
    name,
    input,
    flag: taken.has(name) ? `${name}-from` : name,
  }));

  command.optionsGroup("Inputs and output:");
  for (const { input, flag } of flags)
    command.option(
      `--${flag} <${input.file === undefined ? "folder" : "path"}>`,
      `${sentence(input.summary)}${input.optional ? " (optional)" : ""}`,
    );
  command
    .option("--out <folder>", "where to write; new, empty, or that of the same command")
    .option("--config <file>", "JSON with fields of the config; options go on top");
  command.option("--dry-run", "print the complete config and stop");
  command.optionsGroup("Config:");
  for (const { option } of fields) command.addOption(option);
  if (compute.length > 0) command.optionsGroup("Engine:");
  for (const option of compute) command.addOption(option);
  command.optionsGroup("Other:");
  command
    .option("--debug", "show where an error comes from (or set MADFORMER_DEBUG)")
    .helpOption("-h, --help", "print this help")
    .addHelpText("after", guideText(stage.name));

  return command.action(async () => {
    const values = valuesOf(command);
    const config = parseConfig(stage, await configOf(values, schema, fields), "these options");
    const named = Object.fromEntries(flags.map(({ name, flag }) => [name, flag]));
    refuseIdle(stage, config, values, { fields, inputs: named, schema });
    const words = computeWords(values);
    const chosen = computeOf(stage, words, "these options");
    if (values["dry-run"] === true)
      return io.out(`${JSON.stringify({ stage: stage.name, config, ...chosen }, null, 2)}\n`);
    const out = values["out"];
    if (typeof out !== "string") throw new ConfigError(`madformer ${stage.name} needs --out <folder>: where to write`);
    const inputs: Record<string, Artifact | undefined> = {};
    for (const { name, input, flag } of flags) {
      const folder = values[flag];
      if (typeof folder === "string") inputs[name] = await openInput(folder, flag, input);
      else if (!input.optional)
        throw new ConfigError(`madformer ${stage.name} needs --${flag} <folder>: ${input.summary}`);
    }
    const program = await commandDigest();
    const stream = io.stream ?? process.stderr;
    const work = async (signal: AbortSignal): Promise<void> => {
      const { manifest, reused } = await runInFolder(stage, config, inputs as Inputs<InputSpecs>, out, {
        ...{ program, signal, stream, compute: words },
      });
      if (reused) io.err(`${stage.name}: ${out} is complete already\n`);
      io.out(`${JSON.stringify(manifest.facts, null, 2)}\n`);
    };
    const code = await guarded(stage.name, work, stream);
    if (code !== 0) throw new ExitCode(code);
  });
}

/** What a stage that computes is computed with: options that stand beside those of its config. */
function computeOptions({ computing }: Stage<never>): Option[] {
  if (computing === undefined) return [];
  const engines = Object.entries(computing.engines);
  const precisions = engines.map(([engine, precisions]) => `${engine} has ${precisions.join(", ")}`);
  const behind = (word: keyof typeof VARIABLES, otherwise: string): string =>
    `(default: ${VARIABLES[word]}, else ${otherwise})`;
  return [
    new Option(
      `--engine <${engines.map(([engine]) => engine).join("|")}>`,
      `what runs the programs; part of the result ${behind("engine", engines[0]?.[0] ?? "")}`,
    ),
    new Option(
      `--precision <${[...new Set(engines.flatMap(([, precisions]) => precisions))].join("|")}>`,
      `how they round; part of the result: ${precisions.join("; ")} ${behind("precision", "the engine's first")}`,
    ),
    new Option(
      "--threads <integer>",
      `threads of one operation; may change last bits ${behind("threads", "one per core")}`,
    ),
  ];
}

/** @throws {ConfigError} If threads are no number of them. */
function computeWords({ engine, precision, threads }: Values): ComputeWords {
  if (typeof threads === "string" && !/^\d{1,9}$/.test(threads))
    throw new ConfigError(`--threads is ${JSON.stringify(threads)}, expected a whole number from 1 on`);
  return {
    ...(typeof engine === "string" ? { engine } : {}),
    ...(typeof precision === "string" ? { precision } : {}),
    ...(typeof threads === "string" ? { threads: Number(threads) } : {}),
  };
}

/** Words of options in arguments that are not parsed yet, by their flags. */
function wordsIn(args: readonly string[]): Record<string, string> {
  const words: Record<string, string> = {};
  for (const [i, arg] of args.entries()) {
    const [, flag, value = args[i + 1]] = /^--([^=]+)(?:=(.*))?$/s.exec(arg) ?? [];
    if (flag !== undefined && value !== undefined) words[flag] = value;
  }
  return words;
}

/** Options that were given, by their flags. */
function valuesOf(command: Command): Values {
  const given = command.options.filter((option) => command.getOptionValueSource(option.attributeName()) === "cli");
  return Object.fromEntries(
    given.map((option) => [
      (option.long ?? "").replace(/^--(no-)?/, ""),
      command.getOptionValue(option.attributeName()) as string | boolean,
    ]),
  );
}

async function configOf(values: Values, schema: Schema, fields: ReturnType<typeof optionsOf>): Promise<unknown> {
  const file = values["config"];
  let config: unknown = {};
  if (typeof file === "string")
    try {
      config = JSON.parse(await readFile(file, "utf8"));
    } catch (cause) {
      throw new ConfigError(`Cannot read ${JSON.stringify(file)}: ${reasonOf(cause)}`, { cause });
    }
  for (const { path } of fields) {
    const value = values[flagOf(path)];
    if (value !== undefined) config = withField(config, path, valueOf(value, fieldAt(schema, path)), schema);
  }
  return config;
}

/** @throws {ConfigError} If an option was given that changes nothing beside the others. */
function refuseIdle(
  stage: Stage<never>,
  config: never,
  values: Values,
  {
    fields,
    inputs,
    schema,
  }: { fields: ReturnType<typeof optionsOf>; inputs: Readonly<Record<string, string>>; schema: Schema },
): void {
  const given = new Set(Object.keys(inputs).filter((name) => values[inputs[name] ?? ""] !== undefined));
  const idle = new Map(Object.entries(stage.idle?.(config, given) ?? {}));
  const refuse = (flag: string, place: string): void => {
    const why = idle.get(place);
    if (why !== undefined) throw new ConfigError(`--${flag} has no effect ${why}`);
  };
  for (const name of given) refuse(inputs[name] ?? name, name);
  for (const { path } of fields) {
    const value = values[flagOf(path)];
    if (value === undefined || value === false) continue; // who says no to what is not there is right
    for (const leaf of leavesOf(valueOf(value, fieldAt(schema, path)), path)) refuse(flagOf(path), leaf.join("."));
  }
}

/** Paths of all that is given with a value: of the fields of an object, too. */
function leavesOf(value: unknown, path: readonly string[]): (readonly string[])[] {
  const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
  return isObject ? Object.entries(value).flatMap(([name, below]) => leavesOf(below, [...path, name])) : [path];
}

const sentence = (text: string): string => `${text.charAt(0).toUpperCase()}${text.slice(1)}`;

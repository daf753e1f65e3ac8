import { remotePlace, Store } from "@madformer/artifacts";
import { openLog, verify, type Finding } from "@madformer/stage";
import { Command } from "commander";
import { ExitCode } from "../exit.js";
import type { Io } from "../program.js";
import { verifyThere } from "../remote/verify.js";
import { shownPipelines, workspaceRoot } from "../workspace.js";

interface Options {
  readonly deep?: boolean;
  readonly dryRun?: boolean;
  readonly json?: boolean;
  readonly remote?: boolean;
}

/** `madformer verify`: whether what is kept is what was made. */
export function verifyCommand(io: Io): Command {
  return new Command("verify")
    .summary("check what the store holds and pipelines show, and mend it")
    .description(
      "Check everything that pipelines (pipelines/*/out) and points of sweeps (sweeps/out) show and the store holds: every\n" +
        "manifest and record by its digest, every object by its size and time, or with --deep by its bytes. What can be mended\n" +
        "without computing is mended; damaged objects are removed, and the next run of their pipeline makes them again.",
    )
    .argument("[pipeline]", "only this pipeline or sweep, such as faces-64; all, and all of the store, by default")
    .argument("[stage]", "only this stage of it, such as sample")
    .option("--deep", "hash every object, instead of those whose size or time has changed")
    .option("--remote", "check the remote store instead: whether what its keys name is there; with --deep all is read")
    .option("--dry-run", "mend nothing")
    .option("--json", "print JSON for programs")
    .option("--debug", "show where an error comes from (or set MADFORMER_DEBUG)")
    .helpOption("-h, --help", "print this help")
    .addHelpText(
      "after",
      "\nExit codes: 0 nothing is wrong any more, 1 something has to be made again, 2 wrong usage.\n" +
        "\nExamples:\n  madformer verify\n  madformer verify faces-64 sample --deep\n  madformer verify --remote",
    )
    .action(async (name: string | undefined, stage: string | undefined, options: Options) => {
      const root = workspaceRoot();
      process.chdir(root);
      const { deep = false, dryRun = false, json = false } = options;
      const pipelines = await shownPipelines(root, name, stage, io);
      const store = Store.at(root);
      if (options.remote === true)
        return await verifyThere({ root, store, pipelines, stage, whole: name === undefined, deep, dryRun, json }, io);
      using log = openLog({ name: "verify", ...(io.stream && { stream: io.stream }) });
      const onProgress = (done: number): void => {
        if (deep && !json) log.progress("MiB", Math.round(done / 2 ** 20), Math.round(done / 2 ** 20) + 1);
      };
      const remote = (await remotePlace(root))?.uri;
      const whole = name === undefined;
      const found = await verify({ store, pipelines, stage, whole, deep, remote, dryRun, onProgress });
      const open = found.findings.filter(({ mended }) => mended === undefined);
      if (json) io.out(`${JSON.stringify(found, null, 2)}\n`);
      else {
        io.out(found.findings.map(lineOf).join(""));
        const how = deep ? "hashed" : "by size and time; --deep hashes them";
        const elsewhere =
          found.elsewhere === 0 ? "" : `; ${found.elsewhere} stages have files in the remote store alone (--remote)`;
        io.out(
          `Looked at ${found.stages} stages and ${found.objects} objects (${(found.bytes / 2 ** 20).toFixed(1)} MiB, ${how}): ` +
            `${found.findings.length === 0 ? "nothing is wrong" : `${open.length} wrong, ${found.findings.length - open.length} mended`}${elsewhere}\n`,
        );
        // `<pipeline>/<stage>`, or `<sweep>/<point>/<stage>`; places in the store are neither.
        const owners = pipelines.filter((pipeline) => open.some(({ where }) => where.startsWith(`${pipeline.name}/`)));
        const commands = owners.map(({ name: owner }) =>
          owner.includes("/") ? `sweep -- ${owner.split("/")[0]}` : `reproduce -- ${owner}`,
        );
        if (!dryRun) for (const word of new Set(commands)) io.out(`npm run ${word} makes again what is missing\n`);
      }
      if (open.length > 0) throw new ExitCode(1);
    });
}

export const lineOf = ({ where, problem, mended }: Finding): string =>
  `${mended === undefined ? "!" : "+"} ${where}: ${problem}${mended === undefined ? "" : `; ${mended}`}\n`;

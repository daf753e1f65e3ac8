import { exists, Store, type Listed, type Made, type Remote } from "@madformer/artifacts";
import { openLog, outputFolder, rateMeter, readOutput, type Pipeline } from "@madformer/stage";
import { Command } from "commander";
import { ExitCode } from "../exit.js";
import type { Io } from "../program.js";
import { requireRemote } from "../remote/open.js";
import { pipelinesOf, workspaceRoot } from "../workspace.js";

interface Options {
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

/** What became of a stage's output. */
interface Row {
  readonly stage: string;
  readonly objects: number;
  readonly bytes: number;
  /** Whether its key was written. */
  readonly named: boolean;
  /** Why it could not be pushed. */
  readonly problem?: string;
}

/** `madformer push`: what pipelines show, into the remote store. */
export function pushCommand(io: Io): Command {
  return new Command("push")
    .summary("put what pipelines show into the remote store")
    .description(
      'Put into the remote store (MADFORMER_REMOTE, or "remote" in madformer.json) what pipelines show as their outputs\n' +
        "(pipelines/*/out): files, then records, then keys. What is there already is not sent again. Runs push what they make by\n" +
        "themselves; this is for what they could not, and for what was made before there was a remote store.",
    )
    .argument("[pipeline]", "only this pipeline, such as faces-64; all by default")
    .argument("[stage]", "only this stage of it, such as sample")
    .option("--dry-run", "only say what would be sent")
    .option("--json", "print JSON for programs")
    .option("--debug", "show where an error comes from (or set MADFORMER_DEBUG)")
    .helpOption("-h, --help", "print this help")
    .addHelpText(
      "after",
      "\nExit codes: 0 all of it is there, 1 some of it could not be pushed, 2 wrong usage.\n" +
        "\nExamples:\n  madformer push\n  madformer push faces-64 train --dry-run",
    )
    .action(async (name: string | undefined, stage: string | undefined, { dryRun = false, json = false }: Options) => {
      const root = workspaceRoot();
      process.chdir(root);
      const store = Store.at(root);
      const shown = await shownBy(await pipelinesOf(root, name, stage, io), stage);
      await using remote = await requireRemote(root, store, io);
      const listed = await remote.list();
      const rows: Row[] = [];
      for (const [where, made] of shown) rows.push(await pushOne(remote, where, made, listed, dryRun, json, io));
      const failed = rows.filter(({ problem }) => problem !== undefined);
      if (json) io.out(`${JSON.stringify({ remote: remote.name, dryRun, stages: rows }, null, 2)}\n`);
      else {
        const objects = rows.reduce((sum, row) => sum + row.objects, 0);
        const bytes = rows.reduce((sum, row) => sum + row.bytes, 0);
        const sent = objects === 0 ? "nothing new" : `${objects} objects (${(bytes / 2 ** 20).toFixed(1)} MiB)`;
        io.out(
          `${dryRun ? "Would push" : "Pushed"} ${sent} of ${rows.length} stages to ${remote.name}` +
            `${failed.length > 0 ? `; ${failed.length} could not be pushed` : ""}\n`,
        );
      }
      if (failed.length > 0) throw new ExitCode(1);
    });
}

async function pushOne(
  remote: Remote,
  where: string,
  made: Made | string,
  listed: Listed,
  dryRun: boolean,
  json: boolean,
  io: Io,
): Promise<Row> {
  const nothing = { stage: where, objects: 0, bytes: 0, named: false };
  if (typeof made === "string") {
    io.err(`${where}: ${made}\n`);
    return { ...nothing, problem: made };
  }
  using log = openLog({ name: where, ...(io.stream && { stream: io.stream }) });
  const onBytes = rateMeter(log.progress.bind(log));
  try {
    const { objects, bytes, named } = dryRun
      ? await remote.wouldPush(made, listed)
      : await remote.push(made, { listed, ...(!json && { onBytes }) });
    return { stage: where, objects, bytes, named };
  } catch (error) {
    const { message } = error as Error;
    io.err(`${where}: ${message}\n`);
    if ((error as { problem?: string }).problem === "unreachable") throw error;
    return { ...nothing, problem: message };
  }
}

/** What pipelines show, by stage; or what is wrong with it. Stages that show nothing are left out. */
async function shownBy(pipelines: readonly Pipeline[], only: string | undefined): Promise<[string, Made | string][]> {
  const rows: [string, Made | string][] = [];
  for (const { name: pipeline, folder, stages } of pipelines)
    for (const { name: stage } of stages) {
      const out = outputFolder(folder, stage);
      if ((only !== undefined && only !== stage) || !(await exists(out))) continue;
      const made = await readOutput(out);
      rows.push([`${pipeline}/${stage}`, made ?? "manifest or record is damaged or lost; madformer verify says more"]);
    }
  return rows;
}

import { Store } from "@madformer/artifacts";
import { explain, restorePipeline, StageRemote, type Pipeline, type Restored } from "@madformer/stage";
import { Command } from "commander";
import { bundlesOf, type Bundles } from "../bundles.js";
import { ExitCode } from "../exit.js";
import type { Io } from "../program.js";
import { requirePlace } from "../remote/open.js";
import { pipelinesOf, workspaceRoot } from "../workspace.js";

interface Options {
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

/** `restored` may be what would be. */
interface Row {
  readonly stage: string;
  readonly state: Restored["state"];
}

const WORDS = {
  current: "there already",
  restored: "fetched",
  known: "known",
  unknown: "not in the remote store, or it could not be had",
  waits: "waits for a stage before it",
} as const;

/** `madformer pull`: what the remote store has of pipelines, without computing anything. */
export function pullCommand(io: Io): Command {
  return new Command("pull")
    .summary("get what pipelines show from the remote store")
    .description(
      'Get from the remote store (MADFORMER_REMOTE, or "remote" in madformer.json) what pipelines would make now, all files of it,\n' +
        "and show it in pipelines/*/out. Computes nothing. `npm run reproduce` fetches the files that are read, and computes the\n" +
        "rest.",
    )
    .argument("[pipeline]", "only this pipeline, such as faces-64; all by default")
    .argument("[stage]", "only this stage of it and all that it needs, such as sample")
    .option("--dry-run", "only say what would be fetched")
    .option("--json", "print JSON for programs")
    .option("--debug", "show where an error comes from (or set MADFORMER_DEBUG)")
    .helpOption("-h, --help", "print this help")
    .addHelpText(
      "after",
      "\nExit codes: 0 all of it is here, 1 some of it is not, 2 wrong usage.\n" +
        "\nExamples:\n  madformer pull faces-64\n  madformer pull faces-64 export --json",
    )
    .action(async (name: string | undefined, stage: string | undefined, { dryRun = false, json = false }: Options) => {
      const root = workspaceRoot();
      process.chdir(root);
      const { uri } = await requirePlace(root);
      const pipelines = await pipelinesOf(root, name, stage, io);
      const bundles = await bundlesOf(root, pipelines);
      const store = Store.at(root);
      const { signal } = new AbortController();
      const stream = io.stream ?? process.stderr;
      await using remote = await StageRemote.open(root, store, { signal, title: "pull", stream });
      const rows: Row[] = [];
      for (const pipeline of pipelines)
        for (const { name: one, state } of dryRun
          ? await wouldRestore(pipeline, stage, store, remote, bundles)
          : await restorePipeline(pipeline, stage, { store, remote, signal, whole: true, ...bundles, stream }))
          rows.push({ stage: `${pipeline.name}/${one}`, state });
      const lacking = rows.filter(({ state }) => state === "unknown" || state === "waits");
      if (json) io.out(`${JSON.stringify({ remote: uri, dryRun, stages: rows }, null, 2)}\n`);
      else {
        for (const row of rows) if (row.state !== "current") io.out(`${row.stage}: ${WORDS[row.state]}\n`);
        const fetched = rows.filter(({ state }) => state === "restored").length;
        io.out(
          `${dryRun ? "Would fetch" : "Fetched"} ${fetched} of ${rows.length} stages from ${uri}; ` +
            `${lacking.length === 0 ? "nothing is missing" : `${lacking.length} are missing`}\n`,
        );
      }
      if (lacking.length > 0) throw new ExitCode(1);
    });
}

/** What a pull would do. */
async function wouldRestore(
  pipeline: Pipeline,
  stage: string | undefined,
  store: Store,
  remote: StageRemote | undefined,
  bundles: Bundles,
): Promise<Pick<Restored, "name" | "state">[]> {
  const states = { known: "current", remote: "restored", damaged: "unknown", runs: "unknown", waits: "waits" } as const;
  const found = await explain(pipeline, stage, { store, ...bundles, remote });
  return found.map(({ name, state }) => ({ name, state: states[state] }));
}

import { join } from "node:path";
import { Store } from "@madformer/artifacts";
import { ConfigError, explain, readPipeline, StageRemote, type Explanation } from "@madformer/stage";
import { Command } from "commander";
import { bundlesOf } from "../bundles.js";
import type { Io } from "../program.js";
import { findStage, workspaceRoot } from "../workspace.js";

const MARK = { known: "=", remote: "<", damaged: "!", runs: "*", waits: "?" } as const;
const WORDS = {
  known: "in the store, nothing to do",
  remote: "in the remote store, whose files are fetched when something reads them",
  damaged: "would be repaired",
  runs: "would run",
  waits: "runs only if what it waits for comes out different",
} as const;

/** `madformer explain faces-64 sample`: what would run, and why; without a stage, of the whole pipeline. */
export function explainCommand(io: Io): Command {
  return new Command("explain")
    .summary("say what would run, and why")
    .description(
      "Say for a pipeline, or for a stage of one and all that it needs, whether it would run if you asked for it, and why: which field of\n" +
        "its config, which source file, which input is not what it was when it last ran; or whether the remote store, if\n" +
        "there is one, has it. Runs nothing.",
    )
    .argument("<pipeline>", "such as faces-64, or faces-64-sample")
    .argument("[stage]", "such as sample; all by default")
    .option("--json", "print JSON for programs")
    .option("--debug", "show where an error comes from (or set MADFORMER_DEBUG)")
    .helpOption("-h, --help", "print this help")
    .addHelpText(
      "after",
      "\nExamples:\n  madformer explain smoke\n  madformer explain faces-64 report\n  madformer explain smoke-sample --json",
    )
    .action(async (first: string, second: string | undefined, options: { readonly json?: boolean }) => {
      const root = workspaceRoot();
      process.chdir(root);
      const { pipeline: name, stage } = await findStage(root, second === undefined ? [first] : [first, second]);
      const pipeline = readPipeline(join("pipelines", name));
      if (stage !== undefined && !pipeline.stages.some((other) => other.name === stage))
        throw new ConfigError(
          `Pipeline ${name} has no stage ${JSON.stringify(stage)}, expected one of: ${pipeline.stages.map((s) => s.name).join(", ")}`,
        );
      const bundles = await bundlesOf(root, [pipeline]);
      const store = Store.at(root);
      const { signal } = new AbortController();
      const stream = io.stream ?? process.stderr;
      await using remote = await StageRemote.open(root, store, { signal, title: "explain", stream });
      const found = await explain(pipeline, stage, { store, ...bundles, remote });
      io.out(options.json ? `${JSON.stringify(found, null, 2)}\n` : found.map(lines).join(""));
    });
}

function lines({ name, state, reasons }: Explanation): string {
  return [`${MARK[state]} ${name}: ${WORDS[state]}`, ...reasons.map((reason) => `    ${reason}`)].join("\n") + "\n";
}

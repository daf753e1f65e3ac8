import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { Store } from "@madformer/artifacts";
import { ConfigError, explain, digestOfBundle, readPipeline, type Explanation } from "@madformer/stage";
import { Command } from "commander";
import type { Io } from "../program.js";
import { bundleOf, STAGES } from "../stages/table.js";
import { findStage, workspaceRoot } from "../workspace.js";

const MARK = { known: "=", damaged: "!", runs: "*", waits: "?" } as const;
const WORDS = {
  known: "in the store, nothing to do",
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
        "its config, which source file, which input is not what it was when it last ran. Runs nothing.",
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
      await bundleAll();
      const found = await explain(pipeline, stage, {
        store: Store.at(root),
        stage: async (uses) => await entryOf(uses).load(),
        program: async (uses) => await digestOfBundle(bundleOf(entryOf(uses))),
      });
      io.out(options.json ? `${JSON.stringify(found, null, 2)}\n` : found.map(lines).join(""));
    });
}

function lines({ name, state, reasons }: Explanation): string {
  return [`${MARK[state]} ${name}: ${WORDS[state]}`, ...reasons.map((reason) => `    ${reason}`)].join("\n") + "\n";
}

function entryOf(uses: string) {
  const entry = STAGES.find(({ name }) => name === uses);
  if (entry) return entry;
  throw new ConfigError(
    `There is no stage function "${uses}", expected one of: ${STAGES.map(({ name }) => name).join(", ")}`,
  );
}

/** Brings all bundles up to date: they are the code that is compared. */
async function bundleAll(): Promise<void> {
  try {
    await promisify(execFile)("npx", ["nx", "run-many", "-t", "bundle", "--outputStyle=static"], {
      maxBuffer: 2 ** 26,
    });
  } catch (cause) {
    const { stdout = "" } = cause as { stdout?: string };
    throw new Error(`Cannot bundle the stages: ${stdout.trim().split("\n").slice(-5).join(" ")}`, { cause });
  }
}

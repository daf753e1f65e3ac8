import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { canonicalJson, reasonOf } from "@madformer/artifacts";
import { z } from "zod";
import { ConfigError } from "./config.js";

const Name = z.string().regex(/^[a-z][a-z0-9-]*$/, "expected lower-case letters, digits and dashes");

const Conditional = z
  .strictObject({
    stage: Name.describe("The entry that is read"),
    if: z
      .record(z.string().regex(/^[a-z][a-z0-9-]*\.\w+$/, "expected <entry>.<field>"), z.json())
      .describe("Only if these fields of entries' configs have these values"),
  })
  .readonly();

const StageEntry = z
  .strictObject({
    uses: Name.optional().describe("The stage function; the entry's own name by default"),
    needs: z
      .union([z.array(Name), z.record(z.string(), z.union([Name, Conditional]))])
      .default([])
      .describe("The entries it reads: a list if the inputs have the same names, else input -> entry"),
    config: z.record(z.string(), z.json()).default({}),
  })
  .readonly();

const PipelineFile = z
  .object({ $schema: z.string().optional(), description: z.string().optional() })
  .catchall(StageEntry);

/** One stage of a pipeline. */
export interface PipelineStage {
  readonly name: string;
  /** The stage function. */
  readonly uses: string;
  /** Input name -> stage of the pipeline that makes it. */
  readonly needs: Readonly<Record<string, string>>;
  readonly config: unknown;
}

/** An experiment: which stages run, on what, with which parameters. */
export interface Pipeline {
  readonly folder: string;
  readonly description: string;
  /** In an order in which each comes after what it needs. */
  readonly stages: readonly PipelineStage[];
}

/**
 * Reads `<folder>/pipeline.json`.
 *
 * @throws {ConfigError} If it cannot be read, a field is unknown, a need is no stage, or needs form a circle.
 */
export async function readPipeline(folder: string): Promise<Pipeline> {
  const path = join(folder, "pipeline.json");
  let parsed;
  try {
    parsed = PipelineFile.safeParse(JSON.parse(await readFile(path, "utf8")));
  } catch (cause) {
    throw new ConfigError(`Cannot read ${JSON.stringify(path)}: ${reasonOf(cause)}`, { cause });
  }
  if (!parsed.success) {
    const problems = parsed.error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`);
    throw new ConfigError(`Cannot use ${JSON.stringify(path)}: ${problems.join("; ")}`);
  }
  const { $schema: _, description = "", ...entries } = parsed.data;
  const stages = Object.entries(entries).map(([name, entry]) => stageOf(name, entry, entries));
  return { folder, description, stages: inOrder(stages, path) };
}

type Entries = Readonly<Record<string, z.infer<typeof StageEntry>>>;

function stageOf(name: string, { uses = name, needs, config }: Entries[string], entries: Entries): PipelineStage {
  const pairs = Array.isArray(needs) ? needs.map((need) => [need, need] as const) : Object.entries(needs);
  const needed = pairs.flatMap(([input, need]) => {
    if (typeof need === "string") return [[input, need] as const];
    const applies = Object.entries(need.if).every(([place, value]) => {
      const [entry = "", field = ""] = place.split(".");
      return canonicalJson(entries[entry]?.config[field] ?? null) === canonicalJson(value);
    });
    return applies ? [[input, need.stage] as const] : [];
  });
  return { name, uses, config, needs: Object.fromEntries(needed) };
}

function inOrder(stages: readonly PipelineStage[], path: string): PipelineStage[] {
  const byName = new Map(stages.map((stage) => [stage.name, stage]));
  const done: PipelineStage[] = [];
  const visit = (stage: PipelineStage, above: readonly string[]): void => {
    if (done.includes(stage)) return;
    if (above.includes(stage.name))
      throw new ConfigError(
        `Cannot use ${JSON.stringify(path)}: stages need each other in a circle, ${[...above, stage.name].join(" -> ")}`,
      );
    for (const need of Object.values(stage.needs)) {
      const next = byName.get(need);
      if (next === undefined)
        throw new ConfigError(
          `Cannot use ${JSON.stringify(path)}: "${stage.name}" needs "${need}", expected one of: ${[...byName.keys()].join(", ")}`,
        );
      visit(next, [...above, stage.name]);
    }
    done.push(stage);
  };
  for (const stage of stages) visit(stage, []);
  return done;
}

/** Each pipeline of the workspace can run: its configs are complete and right, its stages get what they need. */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { readFileSync } from "node:fs";
import { configSchema, parseConfig, readPipeline } from "@madformer/stage";
import { bundlesOf } from "../src/bundles.js";
import { GUIDES } from "../src/stages/guide.js";
import { STAGES } from "../src/stages/table.js";

const root = fileURLToPath(new URL("../../../pipelines", import.meta.url));
/** Those that come with the project; whoever adds one of their own may leave it half-written. */
const PIPELINES = [
  "faces-32",
  "faces-64",
  "faces-64-classes",
  "ffhq-1024",
  "ffhq-1024-published",
  "imagenet-256",
  "smoke",
];

test.each(PIPELINES)("%s is complete", async (name) => {
  const pipeline = readPipeline(join(root, name));
  expect(pipeline.description).not.toBe("");
  for (const entry of pipeline.stages) {
    const stage = await STAGES.find(({ name: other }) => other === entry.uses)?.load();
    if (!stage) throw new Error(`${name}: no stage "${entry.uses}"`);
    parseConfig(stage, entry.config, `"${entry.name}" of ${name}`);
    expect(Object.keys(stage.inputs)).toEqual(expect.arrayContaining(Object.keys(entry.needs)));
    for (const [input, { optional }] of Object.entries(stage.inputs))
      if (!optional) expect(Object.keys(entry.needs)).toContain(input);
  }
});

// What the released README and the paper say: docs in pipelines/README.md.
test.each([
  ["ffhq-1024", { steps: 210_000, batch: 64, seeds: "0-7999", ddim: 250 }],
  ["imagenet-256", { steps: 250_000, batch: 256, seeds: "0-49999", ddim: 100 }],
])("%s follows the official protocol, and ours under names of their own", (name, official) => {
  const stages = new Map(readPipeline(join(root, name)).stages.map((entry) => [entry.name, entry]));
  const train = stages.get("train")?.config as Record<string, number>;
  expect(train).toMatchObject({ steps: official.steps, checkpointEvery: 10_000, keepLast: 5 });
  expect(train["batchImages"]! * train["accumulate"]!).toBe(official.batch);
  const sampling = { seeds: official.seeds, checkpoints: "all" };
  const settings = (stage: string) => stages.get(stage)?.config;
  expect(settings("sample")).toMatchObject({ ...sampling, solver: "ddim", steps: official.ddim, weights: "raw" });
  expect(settings("sample-ours")).toMatchObject({ ...sampling, solver: "dpm-solver++", weights: "ema" });
  for (const suffix of ["", "-ours"]) {
    expect(settings(`score${suffix}`)).toMatchObject({ last: 5 });
    const needs = { sample: `sample${suffix}`, features: `features${suffix}`, score: `score${suffix}` };
    expect(stages.get(`report${suffix}`)?.needs).toMatchObject(needs);
    expect(stages.get(`features${suffix}`)).toMatchObject({ needs: { images: needs.sample } });
    expect(stages.get(`score${suffix}`)).toMatchObject({ needs: { samples: needs.features } });
  }
});

test("pipelines/defaults.json says what the stages' schemas say: node tools/pipelines/defaults.mjs writes it", async () => {
  const written = JSON.parse(readFileSync(join(root, "defaults.json"), "utf8")) as Record<string, unknown>;
  expect(Object.keys(written).sort()).toEqual(STAGES.map(({ name }) => name).sort());
  for (const { name, load } of STAGES) {
    const properties = Object.entries(configSchema(await load()).properties ?? {});
    const defaults = properties.flatMap(([field, schema]) => ("default" in schema ? [[field, schema.default]] : []));
    const plain = defaults.filter(([, value]) => value === null || typeof value !== "object");
    expect({ [name]: written[name] }).toEqual({ [name]: Object.fromEntries(plain) as unknown });
  }
});

test("a stage that can compile a program chooses with what it computes, and no other does", async () => {
  const { program } = await bundlesOf(join(root, ".."), [{ stages: STAGES.map(({ name }) => ({ uses: name })) }]);
  for (const { name, load } of STAGES) {
    const bundle = readFileSync((await program(name)).path ?? "", "utf8");
    const compiles = bundle.includes("\n// packages/engine/src/compile.ts\n");
    expect({ [name]: (await load()).computing !== undefined }).toEqual({ [name]: compiles });
  }
}, 120_000);

test("the table has the stages that packages name, each with its guide, in the order of a reproduction", async () => {
  const { findStages } = (await import(join(root, "../tools/pipelines/stages.mjs"))) as {
    findStages: (root: string) => ReadonlyMap<string, { readonly packageDir: string }>;
  };
  const named = findStages(join(root, ".."));
  expect(STAGES.map(({ name }) => name)).toEqual(Object.keys(GUIDES));
  expect(STAGES.map(({ name }) => name).sort()).toEqual([...named.keys()].sort());
  for (const { name, folder, summary, load } of STAGES) {
    expect([(await load()).name, folder, summary === ""]).toEqual([name, named.get(name)?.packageDir, false]);
  }
});

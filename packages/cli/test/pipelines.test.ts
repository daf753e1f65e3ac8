/** Each pipeline of the workspace can run: its configs are complete and right, its stages get what they need. */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { readdirSync } from "node:fs";
import { parseConfig, readPipeline } from "@madformer/stage";
import { STAGES } from "../src/stages/table.js";

const root = fileURLToPath(new URL("../../../pipelines", import.meta.url));
/** Those that come with the project; whoever adds one of their own may leave it half-written. */
const PIPELINES = ["faces-64", "ffhq-1024", "imagenet-256", "smoke"];

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

test("the table says of each stage what its package says, and where its bundle is", async () => {
  for (const { name, folder, load } of STAGES) {
    expect((await load()).name).toBe(name);
    expect(readdirSync(join(root, "..", folder, "src/stages"))).toContain(`${name}.ts`);
  }
});

/** Each pipeline of the workspace can run: its configs are complete and right, its stages get what they need. */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { readdirSync } from "node:fs";
import { parseConfig, readPipeline } from "@madformer/stage";
import { STAGES } from "../src/stages/table.js";

const root = fileURLToPath(new URL("../../../pipelines", import.meta.url));
const pipelines = readdirSync(root, { withFileTypes: true }).filter((entry) => entry.isDirectory());

test("there are a pipeline to try, one for continuous integration and the paper's two", () => {
  expect(pipelines.map(({ name }) => name).sort()).toEqual(["faces-64", "ffhq-1024", "imagenet-256", "smoke"]);
});

test.each(pipelines.map(({ name }) => name))("%s is complete", async (name) => {
  const pipeline = await readPipeline(join(root, name));
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

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readPipeline } from "./pipeline.js";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "pipeline-"));
});
afterEach(() => rm(folder, { recursive: true }));
const pipeline = async (value: unknown) => {
  await writeFile(join(folder, "pipeline.json"), typeof value === "string" ? value : JSON.stringify(value));
  return await readPipeline(folder);
};

describe("readPipeline()", () => {
  test("gives stages after what they need, with defaults filled in", async () => {
    const { stages, description } = await pipeline({
      description: "small",
      score: { needs: { reference: "features-data" } },
      "features-data": { uses: "features", needs: ["shards"], config: { batchImages: 8 } },
      shards: {},
    });
    expect(description).toBe("small");
    expect(stages).toEqual([
      { name: "shards", uses: "shards", needs: {}, config: {} },
      { name: "features-data", uses: "features", needs: { shards: "shards" }, config: { batchImages: 8 } },
      { name: "score", uses: "score", needs: { reference: "features-data" }, config: {} },
    ]);
  });

  test("leaves out an input whose condition does not hold", async () => {
    const value = (codec: string) => ({
      vae: {},
      latents: { needs: { vae: { stage: "vae", if: { "latents.codec": "autoencoder-kl" } } }, config: { codec } },
    });
    const needs = async (codec: string) =>
      (await pipeline(value(codec))).stages.find(({ name }) => name === "latents")?.needs;
    expect(await needs("autoencoder-kl")).toEqual({ vae: "vae" });
    expect(await needs("patch-pca")).toEqual({});
  });

  test.each([
    ["no JSON", "{", /Cannot read ".*pipeline.json"/],
    ["an unknown field", { a: { need: [] } }, /a: .*need/],
    ["a need that is no stage", { a: { needs: ["b"] } }, /"a" needs "b", expected one of: a/],
    ["a circle", { a: { needs: ["b"] }, b: { needs: ["a"] } }, /in a circle, a -> b -> a/],
  ])("refuses %s", async (_, value, message) => {
    await expect(pipeline(value)).rejects.toThrow(message);
  });
});

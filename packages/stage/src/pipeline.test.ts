import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ConfigError } from "./config.js";
import { checkPipeline } from "../plain/pipeline-file.mjs";
import { readPipeline, upTo } from "./pipeline.js";

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "pipelines-"));
});
afterEach(() => rm(root, { recursive: true }));
const pipeline = async (value: unknown, name = "p") => {
  const folder = join(root, name);
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "pipeline.json"), typeof value === "string" ? value : JSON.stringify(value));
  return readPipeline(folder);
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
    const none = { compute: {} };
    expect(stages).toEqual([
      { name: "shards", uses: "shards", needs: {}, config: {}, ...none },
      { name: "features-data", uses: "features", needs: { shards: "shards" }, config: { batchImages: 8 }, ...none },
      { name: "score", uses: "score", needs: { reference: "features-data" }, config: {}, ...none },
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

  const vae = (when: object, config: object) => ({
    vae: {},
    encode: { uses: "latents", needs: { vae: { stage: "vae", if: when } }, config },
  });
  const needsOf = (value: unknown, defaults?: object) =>
    checkPipeline(value, "pipeline.json", "p", defaults as never).stages.at(-1)?.needs;

  test.each([
    ["a default that has the value", { codec: "autoencoder-kl" }, {}, { vae: "vae" }],
    ["a default that has another", { codec: "patch-pca" }, {}, {}],
    ["a word beside a default that has the value", { codec: "autoencoder-kl" }, { codec: "patch-pca" }, {}],
    ["null, which is no missing field", { codec: "autoencoder-kl" }, { codec: null }, {}],
  ])("asks conditions of the stage's defaults, too: %s", (_, defaults, config, needs) => {
    expect(needsOf(vae({ "encode.codec": "autoencoder-kl" }, config), { latents: defaults })).toEqual(needs);
  });

  test("takes null for a value like others in conditions", () => {
    expect(needsOf(vae({ "encode.vae": null }, { vae: null }))).toEqual({ vae: "vae" });
    expect(needsOf(vae({ "encode.vae": null }, {}), { latents: { vae: null } })).toEqual({ vae: "vae" });
    expect(needsOf(vae({ "encode.vae": null }, { vae: 1 }))).toEqual({});
  });

  test("refuses conditions on what is left out and has no default that is known", () => {
    for (const defaults of [undefined, {}, { latents: { patch: 4 } }, { encode: { codec: "autoencoder-kl" } }])
      expect(() => needsOf(vae({ "encode.codec": null }, {}), defaults)).toThrow(
        'Cannot use "pipeline.json": "if" of "vae" asks for "encode.codec", which the config of "encode" leaves out and no default ' +
          "is known of, expected a value there",
      );
  });

  test("finds defaults beside the folders of pipelines", async () => {
    const value = vae({ "encode.codec": "autoencoder-kl" }, {});
    const { folder } = await pipeline({ a: {} });
    await writeFile(join(folder, "pipeline.json"), JSON.stringify(value));
    await writeFile(join(folder, "../defaults.json"), '{"latents":{"codec":"autoencoder-kl"}}');
    expect(readPipeline(folder).stages.at(-1)?.needs).toEqual({ vae: "vae" });
    await writeFile(join(folder, "../defaults.json"), "[]");
    expect(() => readPipeline(folder)).toThrow(/Cannot read ".*defaults.json": it holds no object of objects/);
  });

  test("takes what a stage may be called, a byte order mark, and equal values in any order", async () => {
    const when = { "b.schedule": { kind: "cosine", warmup: [0.1] } };
    const value = {
      constructor: { uses: "b" },
      "2-b": {},
      b: { config: { schedule: { warmup: [0.1], kind: "cosine" } } },
      last: { needs: { constructor: { stage: "constructor", if: when }, x: "2-b" } },
    };
    const { name, stages } = await pipeline(`\uFEFF${JSON.stringify(value)}`, "0-p");
    expect(name).toBe("0-p");
    expect(stages.at(-1)?.needs).toEqual({ constructor: "constructor", x: "2-b" });
  });

  test.each<[string, unknown, RegExp]>([
    ["no JSON", "{", /Cannot read ".*pipeline.json": it is no JSON, /],
    ["a list", [], /Cannot use ".*pipeline.json": it holds a list, expected an object of stages/],
    ["null", null, /it holds null, expected an object/],
    ["no stage", { description: "x" }, /it has no stages/],
    ["a description that is no text", { description: 3, a: {} }, /"description" is the number 3, expected text/],
    ["an entry that is null", { a: null }, /stage "a": it is null, expected an object/],
    [
      "an unknown field",
      { a: { need: [] } },
      /stage "a": unknown field "need", expected one of: uses, needs, config, engine/,
    ],
    ["an engine that is a number", { a: { engine: 3 } }, /stage "a": "engine" is the number 3, expected a name/],
    ["no threads", { a: { threads: 0 } }, /stage "a": "threads" is the number 0, expected a whole number from 1 on/],
    [
      "needs that are null",
      { a: { needs: null } },
      /stage "a": "needs" is null, expected a list of stages or an object/,
    ],
    ["a need that is null", { a: { needs: [null] } }, /stage "a": "needs" holds null, expected the name of a stage/],
    ["a config that is text", { a: { config: "fast" } }, /stage "a": "config" is the text "fast", expected an object/],
    [
      "a condition without if",
      { a: {}, b: { needs: { x: { stage: "a" } } } },
      /"needs" says .* for "x", expected \{ "stage"/,
    ],
    [
      "a condition on no place",
      { a: { needs: { x: { stage: "a", if: { codec: 1 } } } } },
      /names "codec", expected <stage>.<field>/,
    ],
    [
      "a condition on no stage",
      { a: {}, b: { needs: { x: { stage: "a", if: { "c.d": 1 } } } } },
      /"b" needs "c", expected one of: a, b/,
    ],
    ["a need that is no stage", { a: { needs: ["b"] } }, /"a" needs "b", expected one of: a/],
    ["a need that every object has", { a: { needs: ["constructor"] } }, /"a" needs "constructor", expected one of: a/],
    ["a circle", { a: { needs: ["b"] }, b: { needs: ["a"] } }, /in a circle, a -> b -> a/],
    ["a name for a shell", { "x;touch y;#": {} }, /stage "x;touch y;#": that is no name, expected up to 63 lower-case/],
    ["a name that is a path", { "../../x": {} }, /stage "..\/..\/x": that is no name/],
    ["a name of every object's prototype", '{"__proto__": {}}', /stage "__proto__": that is no name/],
    ["a stage function that is a path", { a: { uses: "../b" } }, /stage "a": "uses" is "..\/b", expected up to 63/],
    ["a need that is a path", { a: { needs: { x: "../b" } } }, /"needs" says "..\/b" for "x", expected up to 63/],
    ["an input for a shell", { a: {}, b: { needs: { "$(x)": "a" } } }, /"\$\(x\)" is no name of an input/],
    [
      "what is nested too deep",
      `{"a":{"config":{"x":${"[".repeat(99)}${"]".repeat(99)}}}}`,
      /nested more than 32 deep/,
    ],
    [
      "too many stages",
      Object.fromEntries(Array.from({ length: 1001 }, (_, i) => [`s${i}`, {}])),
      /it has 1001 stages, expected 1000/,
    ],
  ])("refuses %s", async (_, value, message) => {
    await expect(pipeline(value)).rejects.toThrow(message);
    await expect(pipeline(value)).rejects.toThrow(ConfigError);
  });

  test("names the first of many problems, and how many more there are", async () => {
    const value = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`s${i}`, null]));
    await expect(pipeline(value)).rejects.toThrow(/stage "s0".*stage "s7".*; and 12 more$/);
  });

  test("refuses a folder whose name is none, one without the file, and a file too large to be one", async () => {
    await expect(pipeline({ a: {} }, "x y")).rejects.toThrow(
      /its folder is called "x y", expected up to 63 lower-case/,
    );
    expect(() => readPipeline(join(root, "none"))).toThrow(
      /Cannot read ".*none\/pipeline.json": there is no such file/,
    );
    await expect(pipeline(" ".repeat(2 ** 20 + 1))).rejects.toThrow(/it has 1048577 bytes, expected 1048576 at most/);
  });
});

test("upTo() gives a stage and all that it needs", async () => {
  const { stages } = await pipeline({ a: {}, b: {}, c: { needs: ["a"] }, d: { needs: ["c"] } });
  expect(upTo(stages, "d").map(({ name }) => name)).toEqual(["a", "c", "d"]);
});

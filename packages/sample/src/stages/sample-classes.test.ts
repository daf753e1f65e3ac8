/** The stage `sample` with a model that is told a class. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { readNpz, readRgb } from "@madformer/artifacts";
import { madformerConfig, PRESETS } from "@madformer/model";
import { parseConfig } from "@madformer/stage";
import { bench, type Bench } from "../testing.js";
import { stage } from "./sample.js";

const text = { classes: 3, vocabulary: 4, words: "numbers", zeroRow: null } as const;
const model = madformerConfig({ ...PRESETS.smoke, text });
const NAMES = ["cat", "dog", "owl"];

async function sample(on: Bench, out: string, config: object) {
  const complete = parseConfig(stage, { steps: 2, batchImages: 2, orderImages: 0, ...config });
  return await stage.run(complete, { checkpoint: on.checkpoint }, await on.context(out));
}
const image = (on: Bench, out: string, seed: number): Promise<Buffer> =>
  readFile(join(on.root, out, "images", `${String(seed).padStart(8, "0")}.png`));

describe("stage sample, with classes,", () => {
  test("makes equally many of each class, says which is which, and shows a row of each", async () => {
    await using on = await bench(model, NAMES);
    const facts = await sample(on, "all", { seeds: "0-5" });
    expect(facts).toMatchObject({ images: 6, classes: 3, perClass: { least: 2, most: 2 } });
    expect(JSON.parse(await readFile(join(on.root, "all", "labels.json"), "utf8"))).toEqual({
      classes: NAMES.map((name, label) => ({ label, name, images: 2 })),
      labels: { 0: 0, 1: 1, 2: 2, 3: 0, 4: 1, 5: 2 },
    });
    const { arr_1 } = await readNpz(join(on.root, "all", "samples.npz"));
    expect([arr_1?.dtype, [...(arr_1?.data as BigInt64Array)].map(Number)]).toEqual(["int64", [0, 1, 2, 0, 1, 2]]);
    const grid = await readRgb(join(on.root, "all", "grid.png"));
    expect(grid).toMatchObject({ width: 2 * 18 + 2, height: 3 * 18 + 2 });
    const first = await readRgb(join(on.root, "all", "images", "00000003.png")); // the second of class 0
    const cell = first.pixels.subarray(0, 16 * 3);
    const at = (2 * grid.width + 2 + 18) * 3;
    expect(Buffer.from(grid.pixels.subarray(at, at + 48))).toEqual(Buffer.from(cell));
  });

  test("gives a seed the same image of its class, whatever else is sampled", async () => {
    await using on = await bench(model, NAMES);
    await sample(on, "two", { seeds: "3-6", classes: "owl,0", batchImages: 4 });
    await sample(on, "one", { seeds: "5", classes: "2,0", batchImages: 1 });
    expect(await image(on, "one", 5)).toEqual(await image(on, "two", 5));
    await sample(on, "other", { seeds: "5", classes: "1", batchImages: 1 });
    expect(await image(on, "other", 5)).not.toEqual(await image(on, "two", 5));
    const { labels } = JSON.parse(await readFile(join(on.root, "two", "labels.json"), "utf8")) as { labels: object };
    expect(labels).toEqual({ 3: 0, 4: 2, 5: 0, 6: 2 });
  });

  test("refuses classes that the model does not have", async () => {
    await using on = await bench(model);
    await expect(sample(on, "none", { seeds: "0", classes: "3" })).rejects.toThrow(
      'Cannot sample class "3": expected numbers from 0 to 2, such as 0 or 0-9',
    );
    await using plain = await bench();
    await expect(sample(plain, "none", { seeds: "0", classes: "0" })).rejects.toThrow("the model has none");
  });
});

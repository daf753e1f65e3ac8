/** Whatever happens to files of the stage, the same command again makes the same manifest. */
import { sampleStage } from "@madformer/sample";
import { parseConfig, tryDamage } from "@madformer/stage";
import { bench } from "../src/testing.js";

test("stage sample makes the same again, whichever of its files is damaged or lost, and when it was interrupted", async () => {
  await using on = await bench();
  const config = parseConfig(sampleStage, { seeds: "3,7", steps: 1, batchImages: 1, orderImages: 1 });
  const inputs = { checkpoint: on.checkpoint };
  // It reports where it stands, then each image.
  expect(await tryDamage({ stage: sampleStage, config, inputs, stopAfter: 2 }, on.root)).toEqual({
    files: ["grid.png", "images/00000003.png", "images/00000007.png", "order.png", "samples.npz"],
    left: ["images/00000003.png"],
    problems: [],
  });
});

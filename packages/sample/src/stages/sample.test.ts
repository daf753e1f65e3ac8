import { readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { jest } from "@jest/globals";
import {
  listFiles,
  openFolder,
  openSafetensors,
  readNpz,
  readRgb,
  writeSafetensors,
  type TensorInput,
} from "@madformer/artifacts";
import { Sampler } from "@madformer/model";
import { parseConfig } from "@madformer/stage";
import { bench, type Bench } from "../testing.js";
import { stage } from "./sample.js";

/** The smallest run: two steps, five images. */
async function sample(on: Bench, out: string, config: object = {}, signal?: AbortSignal) {
  const complete = parseConfig(stage, { seeds: "0-4", steps: 2, batchImages: 2, orderImages: 2, ...config });
  return await stage.run(complete, { checkpoint: on.checkpoint }, await on.context(out, signal));
}
const bytes = (on: Bench, path: string): Promise<Buffer> => readFile(join(on.root, path));
const png = (seed: number): string => `images/${String(seed).padStart(8, "0")}.png`;

/** Samples two seeds from a checkpoint in a file of which one tensor is another. */
async function sampleChanged(on: Bench, file: string, name: string, data: Partial<TensorInput>, seeds = "7,9") {
  const folder = join(on.root, "checkpoint");
  const tensors: Record<string, TensorInput> = {};
  {
    await using opened = await openSafetensors(join(folder, file));
    for (const name of opened.names) tensors[name] = await opened.read(name);
  }
  await writeSafetensors(join(folder, file), { ...tensors, [name]: { ...tensors[name], ...data } as TensorInput });
  const checkpoint = await openFolder(folder);
  const config = parseConfig(stage, { seeds, steps: 2, batchImages: 4, orderImages: 0, checkpoints: "all" });
  return await stage.run(config, { checkpoint }, await on.context("changed"));
}

describe("stage sample", () => {
  test("writes an image per seed, a grid, the order of blocks and an array", async () => {
    await using on = await bench();
    const facts = await sample(on, "a");
    expect(facts).toEqual({
      groups: [{ name: "final", step: 20, folder: "images", images: 5, weights: "ema" }],
      solver: "dpm-solver++",
      steps: 2,
      nfe: 8, // two steps for each of four blocks
      layerRuns: 12, // each block goes through one autoregressive layer, then twice through one diffusion layer
      seeds: "0-4",
      images: 5,
      side: 16,
    });
    expect((await readdir(join(on.root, "a", "images"))).sort()).toEqual(
      [0, 1, 2, 3, 4].map((seed) => png(seed).slice(7)),
    );
    const { arr_0 } = await readNpz(join(on.root, "a", "samples.npz"));
    expect([arr_0?.dtype, arr_0?.shape]).toEqual(["uint8", [5, 16, 16, 3]]);
    const third = await readRgb(join(on.root, "a", png(3)));
    expect(Buffer.from(arr_0?.data.slice(3 * 768, 4 * 768) as Uint8Array)).toEqual(Buffer.from(third.pixels));
    expect(await readRgb(join(on.root, "a", "grid.png"))).toMatchObject({ width: 3 * 18 + 2, height: 2 * 18 + 2 });
    expect(await readRgb(join(on.root, "a", "order.png"))).toMatchObject({ width: 4 * 18 + 2, height: 2 * 18 + 2 });
  });

  test("samples each seed once, overviews included, and again only those of the order whose latents are gone", async () => {
    await using on = await bench();
    const batches = jest.spyOn(Sampler.prototype, "sample");
    try {
      await sample(on, "a");
      expect(batches).toHaveBeenCalledTimes(3); // five seeds, two at a time
      const names = ["grid.png", "order.png"];
      const before = await Promise.all(names.map((name) => bytes(on, `a/${name}`)));
      for (const name of [png(1), ...names]) await rm(join(on.root, "a", name));
      await sample(on, "a");
      expect(batches).toHaveBeenCalledTimes(3 + 1); // seed 1, which is missing, with seed 0
      expect(await Promise.all(names.map((name) => bytes(on, `a/${name}`)))).toEqual(before);
    } finally {
      batches.mockRestore();
    }
  });

  test("a seed fixes its image, whatever is sampled with it and in whatever batches", async () => {
    await using on = await bench();
    await sample(on, "a");
    await sample(on, "b", { seeds: "3,17", batchImages: 1 });
    await sample(on, "c", { seeds: "2-4", batchImages: 3 });
    expect(await bytes(on, `b/${png(3)}`)).toEqual(await bytes(on, `a/${png(3)}`));
    expect(await bytes(on, `c/${png(3)}`)).toEqual(await bytes(on, `a/${png(3)}`));
    expect(await bytes(on, `b/${png(17)}`)).not.toEqual(await bytes(on, `a/${png(3)}`));
  });

  test("makes only the images that are missing, with the same bytes", async () => {
    await using on = await bench();
    await sample(on, "a");
    const before = await bytes(on, `a/${png(1)}`);
    const others = [png(4), "grid.png", "order.png", "samples.npz"].map((file) => join(on.root, "a", file));
    const inodes = () => Promise.all(others.map(async (path) => (await stat(path)).ino));
    const kept = await inodes();
    await rm(join(on.root, "a", png(1)));
    await sample(on, "a");
    expect(await bytes(on, `a/${png(1)}`)).toEqual(before);
    expect(await inodes()).toEqual(kept);
  });

  test("steps, solver and weights change images", async () => {
    await using on = await bench();
    await sample(on, "a");
    for (const [name, config] of [
      ["steps", { steps: 3 }],
      ["solver", { solver: "ddim" }],
      ["raw", { weights: "raw" }],
    ] as const) {
      await sample(on, name, { seeds: "0", npz: false, orderImages: 0, ...config });
      expect(await bytes(on, `${name}/${png(0)}`)).not.toEqual(await bytes(on, `a/${png(0)}`));
      expect(await readdir(join(on.root, name))).toEqual(["grid.png", "images", "logs", "tmp"]);
    }
  });

  test("samples every checkpoint that was kept, each once", async () => {
    await using on = await bench();
    const { groups } = await sample(on, "a", { checkpoints: "all", seeds: "0-1" });
    expect(groups).toEqual([
      { name: "step-0000005", step: 5, folder: "steps/step-0000005/images", images: 2, weights: "ema" },
      { name: "final", step: 20, folder: "images", images: 2, weights: "ema" },
    ]);
    expect(await bytes(on, "a/steps/step-0000005/images/00000000.png")).not.toEqual(await bytes(on, `a/${png(0)}`));
  });

  test("samples the newest checkpoint at other steps and from other seeds, besides", async () => {
    await using on = await bench();
    const facts = await sample(on, "a", { checkpoints: "all", seeds: "0,2", otherSteps: "3,1,2", repeats: 3 });
    const of = { step: 20, images: 2, weights: "ema" };
    expect(facts).toMatchObject({ steps: 2, nfe: 8, seeds: "0,2", images: 2 });
    expect(facts["groups"]).toEqual([
      { name: "steps-1", role: "steps", steps: 1, nfe: 4, folder: "nfe/steps-1/images", ...of },
      { name: "steps-3", role: "steps", steps: 3, nfe: 12, folder: "nfe/steps-3/images", ...of },
      { name: "repeat-1", role: "repeat", steps: 2, nfe: 8, folder: "repeats/repeat-1/images", ...of },
      { name: "repeat-2", role: "repeat", steps: 2, nfe: 8, folder: "repeats/repeat-2/images", ...of },
      { name: "step-0000005", folder: "steps/step-0000005/images", ...of, step: 5 },
      { name: "final", steps: 2, nfe: 8, folder: "images", ...of },
    ]);
    const alone = { npz: false, orderImages: 0 };
    await sample(on, "one", { ...alone, seeds: "0", steps: 1 });
    expect(await bytes(on, "a/nfe/steps-1/" + png(0))).toEqual(await bytes(on, `one/${png(0)}`));
    await sample(on, "others", { ...alone, seeds: "3-6" });
    for (const [repeat, seeds] of [
      [3, 4],
      [5, 6],
    ].entries()) {
      const folder = `repeats/repeat-${repeat + 1}`;
      expect(await readdir(join(on.root, "a", folder, "images"))).toEqual(seeds.map((seed) => png(seed).slice(7)));
      for (const seed of seeds)
        expect(await bytes(on, `a/${folder}/${png(seed)}`)).toEqual(await bytes(on, `others/${png(seed)}`));
    }
    for (const wrong of ["0", "1001", "1,", "a"])
      expect(() => parseConfig(stage, { otherSteps: wrong })).toThrow("steps");
  });

  const groupsOf = async (on: Bench, out: string, checkpoints: string) =>
    (await sample(on, out, { checkpoints, seeds: "0", npz: false, orderImages: 0 })).groups;

  test("samples the checkpoints of particular steps, each once, with the overviews of the newest", async () => {
    await using on = await bench();
    const [step, final] = [
      { name: "step-0000005", step: 5, images: 1, weights: "ema" },
      { name: "final", step: 20, folder: "images", images: 1, weights: "ema" },
    ];
    expect(await groupsOf(on, "early", "5")).toEqual([{ ...step, folder: "images" }]);
    expect(await listFiles(join(on.root, "early"), ["logs", "tmp"])).toEqual(["grid.png", png(0)]);
    const both = [{ ...step, folder: "steps/step-0000005/images" }, final];
    expect(await groupsOf(on, "both", "20,5,5")).toEqual(both);
    expect(await groupsOf(on, "named", "final,5")).toEqual(both);
    expect(await bytes(on, `both/steps/step-0000005/${png(0)}`)).toEqual(await bytes(on, `early/${png(0)}`));
  });

  test("names the checkpoints that there are where one is missing, and what it expects", async () => {
    await using on = await bench();
    await expect(groupsOf(on, "a", "5,7,9,final")).rejects.toThrow(
      "Cannot sample checkpoints 5,7,9,final: there is none of step 7, 9, expected some of 5, 20",
    );
    for (const wrong of ["", "last", "5,", "5-20", "all,5"])
      expect(() => parseConfig(stage, { checkpoints: wrong })).toThrow(
        'expected "final", "all", or training steps such as 1000,2000',
      );
  });

  test("samples a training run as it does its export, and says where it has not ended", async () => {
    await using on = await bench();
    await groupsOf(on, "a", "final");
    const folder = join(on.root, "checkpoint");
    for (const part of ["ema", "weights"]) await rm(join(folder, `${part}.safetensors`));
    const warnings: string[] = [];
    const again = async (out: string) => {
      const context = await on.context(out);
      const log = { ...context.log, warn: (message: string) => void warnings.push(message) };
      const config = parseConfig(stage, { seeds: "0", steps: 2, batchImages: 1, orderImages: 0, npz: false });
      return (await stage.run(config, { checkpoint: await openFolder(folder) }, { ...context, log })).groups;
    };
    expect(await again("run")).toEqual([{ name: "final", step: 20, folder: "images", images: 1, weights: "ema" }]);
    expect(await bytes(on, `run/${png(0)}`)).toEqual(await bytes(on, `a/${png(0)}`));
    expect(warnings).toEqual([]);
    await rm(join(folder, "checkpoints", "step-0000020"), { recursive: true });
    expect(await again("early")).toMatchObject([{ name: "step-0000005", step: 5, folder: "images" }]);
    expect(warnings).toEqual(["this training run has not ended: its newest checkpoint is of step 5 of 20"]);
  });

  test("in the picture of the order, a block stays once it is there, and what is to come is gray", async () => {
    await using on = await bench();
    await sample(on, "a");
    const { pixels, width } = await readRgb(join(on.root, "a", "order.png"));
    const at = (column: number, y: number, x: number): number[] => {
      const start = ((2 + y) * width + 2 + column * 18 + x) * 3;
      return [...pixels.subarray(start, start + 3)];
    };
    const { pixels: image } = await readRgb(join(on.root, "a", png(0)));
    for (const [column, done] of [1, 2, 3, 4].entries())
      for (const [block, [y, x]] of [
        [0, 0],
        [0, 8],
        [8, 0],
        [8, 8],
      ].entries())
        expect(at(column, (y ?? 0) + 3, (x ?? 0) + 3)).toEqual(
          block < done
            ? [...image.subarray((((y ?? 0) + 3) * 16 + (x ?? 0) + 3) * 3).subarray(0, 3)]
            : [0xd8, 0xd8, 0xd8],
        );
  });

  test("stops when it is told to, and keeps what it has", async () => {
    await using on = await bench();
    const controller = new AbortController();
    controller.abort(new Error("stopped"));
    await expect(sample(on, "a", {}, controller.signal)).rejects.toThrow("stopped");
  });

  test.each([
    [
      "ema.safetensors",
      "boi_block",
      { data: new Float32Array(128).fill(NaN, 3, 5) },
      "2 of 128 elements, the first is NaN at",
    ],
    [
      "checkpoints/step-0000005/ema.safetensors",
      "boi_block",
      { data: new Float32Array(128).fill(-Infinity) },
      "128 of 128",
    ],
    [
      "codec.safetensors",
      "mean",
      { dtype: "float16", data: new Uint16Array(12).fill(0x7c00, 11) },
      "Infinity at index 11",
    ],
    ["codec.safetensors", "mean", { dtype: "float64", data: new Float64Array(12).fill(1e39) }, "12 of 12"],
  ] as const)(
    "refuses weights in %s that are not finite, and names the tensor",
    async (file, name, tensor, problem) => {
      await using on = await bench();
      const sampling = sampleChanged(on, file, name, tensor);
      await expect(sampling).rejects.toThrow(new RegExp(`^Cannot read ".*/${file}": tensor "${name}" is not finite`));
      await expect(sampling).rejects.toThrow(problem);
    },
  );

  test("stops at latents and at pixels that are not finite, and names the seed", async () => {
    const large = { data: new Float32Array(128).fill(3e38) };
    {
      await using on = await bench();
      await expect(sampleChanged(on, "ema.safetensors", "boi_block", large)).rejects.toThrow(
        "Cannot sample seed 7: its latents are not finite after step 1 of 2 of block 1 of 4: ",
      );
      expect(await listFiles(join(on.root, "changed"), ["logs", "tmp", "steps"])).toEqual([]);
    }
    await using on = await bench();
    const basis = { data: new Float32Array(48).fill(3e38) };
    await expect(sampleChanged(on, "codec.safetensors", "basis", basis)).rejects.toThrow(
      /^Cannot decode seed 7: its pixels are not finite: \d+ of 768 elements, the first is (NaN|-?Infinity) at index \d+$/,
    );
  });

  test("names the file of a checkpoint that is missing, and weights that do not fit", async () => {
    await using on = await bench();
    const folder = join(on.root, "checkpoint");
    const again = async () =>
      stage.run(
        parseConfig(stage, { seeds: "0", steps: 1 }),
        { checkpoint: await openFolder(folder) },
        await on.context("x"),
      );
    await writeFile(join(folder, "ema.safetensors"), await readFile(join(folder, "codec.safetensors")));
    await expect(again()).rejects.toThrow(/weights do not fit the network/);
    await rm(join(folder, "codec.json"));
    await expect(again()).rejects.toThrow(/"codec.json"/);
  });
});

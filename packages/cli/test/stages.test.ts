/** The stages without a pipeline, from drawn faces to a score, as a user would type them. */
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import { readRgb } from "@madformer/artifacts";
import { run } from "@madformer/cli";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "stages-"));
});
afterAll(() => rm(folder, { recursive: true }));

/** Runs a command line; words that begin with ./ lie in the test's folder. */
async function madformer(line: string): Promise<{ code: number; out: string; err: string }> {
  let [out, err] = ["", ""];
  const args = line.split(" ").map((word) => (word.startsWith("./") ? join(folder, word) : word));
  const stream = new Writable({
    write(chunk: Buffer, _, next) {
      err += chunk.toString();
      next();
    },
  }) as NodeJS.WritableStream as NodeJS.WriteStream;
  const code = await run(args, { out: (text) => (out += text), err: (text) => (err += text), stream });
  return { code, out, err };
}

async function done(line: string): Promise<Record<string, unknown>> {
  const { code, out, err } = await madformer(line);
  expect([code, err]).toEqual([0, expect.not.stringContaining("Error")]);
  return JSON.parse(out) as Record<string, unknown>;
}

test("a reproduction can be typed, stage by stage, and each stage resumes", async () => {
  const source = JSON.stringify({ kind: "faces", count: 12, side: 32 });
  expect(await done(`dataset --source ${source} --out ./dataset`)).toMatchObject({ images: 12 });
  expect(await done("shards --dataset ./dataset --side 32 --out ./shards")).toMatchObject({ images: 12, side: 32 });
  expect(
    await done("latents --shards ./shards --codec patch-pca --patch 4 --channels 4 --out ./latents"),
  ).toMatchObject({ side: 8, channels: 4 });
  const grids = "--sample-every 3 --sample-images 2 --sample-steps 2";
  expect(
    await done(`train --latents ./latents --model smoke --steps 3 --batch-images 2 ${grids} --out ./train`),
  ).toMatchObject({ step: 3 });
  for (const from of ["./train", "./train/checkpoints/step-0000003"])
    expect(
      await done(
        `train --latents ./latents --from ${from} --steps 4 --batch-images 3 --model smoke --out ./on-${from.length}`,
      ),
    ).toMatchObject({ step: 4, images: 3, from: { step: 3, carry: "all" } });
  const tuned = await done(
    "train --latents ./latents --from ./train --carry ema --steps 1 --batch-images 2 --out ./tuned",
  );
  expect(tuned).toMatchObject({ step: 1, from: { stage: "train", step: 3, carry: "ema" } });
  const more = await madformer(
    `train --latents ./latents --model smoke --steps 4 --batch-images 2 ${grids} --out ./train`,
  );
  expect([more.code, more.err]).toEqual([2, expect.stringContaining('the schedule "wsd" spans all steps')]);
  expect(await done("export --train ./train --out ./export")).toMatchObject({ step: 3 });
  expect(await done("sample --checkpoint ./export --seeds 0-1 --steps 2 --out ./sample")).toMatchObject({
    images: 2,
    nfe: 8,
    layerRuns: 12,
  });
  expect((await readdir(join(folder, "sample", "images"))).length).toBe(2);

  // A seed is the same image in the grids of training and in `sample`: other programs differ in last bits, so pixels by
  // one.
  const [trained, sampled] = await Promise.all(
    ["train/samples/step-0000003.png", "sample/grid.png"].map((file) => readRgb(join(folder, file))),
  );
  expect(trained).toMatchObject({ width: sampled!.width, height: sampled!.height });
  const apart = trained!.pixels.map((value, i) => Math.abs(value - sampled!.pixels[i]!));
  expect(apart.reduce((a, b) => Math.max(a, b))).toBeLessThanOrEqual(1);

  const again = await madformer("sample --checkpoint ./export --seeds 0-1 --steps 2 --out ./sample");
  expect([again.code, again.err]).toEqual([0, expect.stringContaining("is complete already")]);
  const other = await madformer("sample --checkpoint ./export --seeds 0-1 --steps 3 --out ./sample");
  expect([other.code, other.err]).toEqual([2, expect.stringContaining("config.steps: 2, now 3")]);
  const record = JSON.parse(await readFile(join(folder, "sample", "record.json"), "utf8")) as { config: object };
  expect(record.config).toMatchObject({ seeds: "0-1", steps: 2, solver: "dpm-solver++" });
});

test("a folder of the wrong stage is refused, and the right one named", async () => {
  const given = "latents --shards ./shards --codec autoencoder-kl --vae ./train --out ./wrong";
  const { code, err } = await madformer(given);
  expect([code, err]).toEqual([
    2,
    expect.stringMatching(/--vae: .* is what stage "train" made, .*run stage "vae" first/),
  ]);
  const beside = await madformer("sample --checkpoint ./latents --out ./wrong");
  expect(beside.err).toMatch(/run stage "export" first; did you mean ".*export"/);
  expect(await readdir(folder)).not.toContain("wrong");
});

describe("madformer <stage>", () => {
  test("--dry-run prints the complete config and writes nothing", async () => {
    const { code, out } = await madformer(
      "train --model smoke --model.width 64 --schedule cosine --dry-run --out ./none",
    );
    const { config } = JSON.parse(out) as { config: Record<string, unknown> };
    expect(code).toBe(0);
    expect(config).toMatchObject({
      steps: 1000,
      model: { width: 64, mlpWidth: 64, arLayers: 1 },
      schedule: { kind: "cosine", warmup: 0.01 },
    });
    expect(await readdir(folder)).not.toContain("none");
  });

  test("takes options with an effect beside those that give it", async () => {
    for (const line of [
      "sample --clip --solver ddim",
      "sample --no-clip",
      "latents --codec patch-pca --patch 4",
      "train --from ./train --carry ema",
      "train --sample-every 5 --sample-steps 9",
      "train --model smoke --model.unet.heads 2",
    ])
      expect([line, (await madformer(`${line} --dry-run`)).code]).toEqual([line, 0]);
  });

  test("--help lists inputs, fields, units and defaults", async () => {
    const { code, out } = await madformer("sample --help");
    expect(code).toBe(0);
    expect(out).toMatch(/--checkpoint <folder> +What export made/);
    expect(out).toMatch(/--steps <integer> +Denoising steps per block \(default: 25\)/s);
  });

  test.each([
    ["sample --out ./x", 2, /needs --checkpoint <folder>/],
    ["shards --dataset ./dataset", 2, /needs --out <folder>/],
    ["shards --dataset ./dataset --side wide --out ./x", 2, /side: .*expected number/],
    ["shards --dataset ./nowhere --out ./x", 1, /there is no such folder/],
    ["sample --stepps 3", 2, /unknown option '--stepps'\n\(Did you mean --steps\?\)/],
    ["train --schedule linear --dry-run", 2, /schedule: found "linear", expected one of: constant, wsd, cosine/],
    // Options without effect.
    ["sample --clip --dry-run", 2, /--clip has no effect with the solver "dpm-solver\+\+", only with "ddim"/],
    ["latents --patch 4 --dry-run", 2, /--patch has no effect with the codec "autoencoder-kl"/],
    ["latents --codec patch-pca --vae ./x --dry-run", 2, /--vae has no effect with the codec "patch-pca"/],
    ["vae --source import --from x --scale published --scale-images 3 --dry-run", 2, /--scale-images has no effect/],
    ["train --carry ema --dry-run", 2, /--carry has no effect without the input "from"/],
    ["train --epochs 3 --steps 9 --dry-run", 2, /--steps has no effect with epochs/],
    ["train --sample-steps 9 --dry-run", 2, /--sample-steps has no effect without sampleEvery/],
    ["train --model.unet.heads 2 --dry-run", 2, /--model.unet.heads has no effect where no level has attention/],
    ['train --model {"unet":{"heads":2}} --dry-run', 2, /--model has no effect where no level has attention/],
    ["train --no-model.qk-norm --model.qk-norm-eps 1e-5 --dry-run", 2, /--model.qk-norm-eps has no effect without/],
    ["export --no-programs --program-images 2 --dry-run", 2, /--program-images has no effect without programs/],
    ["report --frames 3 --dry-run", 2, /--frames has no effect without the input "train"/],
  ])("%s ends with %i and a sentence", async (line, code, message) => {
    const result = await madformer(line);
    expect(result.code).toBe(code);
    expect(result.err).toMatch(message);
    expect(result.err).not.toMatch(/^\s+at /m);
  });
});

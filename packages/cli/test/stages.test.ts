/** The stages without a pipeline, from drawn faces to a score, as a user would type them. */
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
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
  expect(await done("train --latents ./latents --model smoke --steps 3 --batch-images 2 --out ./train")).toMatchObject({
    step: 3,
  });
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
  const more = await madformer("train --latents ./latents --model smoke --steps 4 --batch-images 2 --out ./train");
  expect([more.code, more.err]).toEqual([2, expect.stringContaining('the schedule "wsd" spans all steps')]);
  expect(await done("export --train ./train --out ./export")).toMatchObject({ step: 3 });
  expect(await done("sample --checkpoint ./export --seeds 0-1 --steps 2 --out ./sample")).toMatchObject({
    images: 2,
    nfe: 8,
  });
  expect((await readdir(join(folder, "sample", "images"))).length).toBe(2);

  const again = await madformer("sample --checkpoint ./export --seeds 0-1 --steps 2 --out ./sample");
  expect([again.code, again.err]).toEqual([0, expect.stringContaining("is complete already")]);
  const other = await madformer("sample --checkpoint ./export --seeds 0-1 --steps 3 --out ./sample");
  expect([other.code, other.err]).toEqual([2, expect.stringContaining("config.steps: 2, now 3")]);
  const record = JSON.parse(await readFile(join(folder, "sample", "record.json"), "utf8")) as { config: object };
  expect(record.config).toMatchObject({ seeds: "0-1", steps: 2, solver: "dpm-solver++" });
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
    ["sample --stepps 3", 2, /unknown option '--stepps'/],
  ])("%s ends with %i and a sentence", async (line, code, message) => {
    const result = await madformer(line);
    expect(result.code).toBe(code);
    expect(result.err).toMatch(message);
    expect(result.err).not.toMatch(/^\s+at /m);
  });
});

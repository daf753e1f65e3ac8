/**
 * `madformer sweep` and `madformer compare`: what they refuse before anything runs. Whole sweeps run in `npm run
 * test:sweeps`.
 */
import { cp, mkdir, mkdtemp, readFile, realpath, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { madformer } from "../src/testing.js";
import { readSweep, runsOf } from "@madformer/sweep";
import { STAGES } from "../src/stages/table.js";

const workspace = fileURLToPath(new URL("../../..", import.meta.url));
const from = process.cwd();
let root: string;
beforeAll(async () => {
  root = await realpath(await mkdtemp(join(tmpdir(), "sweep-cli-")));
  await mkdir(join(root, "sweeps"));
  await mkdir(join(root, "pipelines/smoke"), { recursive: true });
  await writeFile(join(root, "nx.json"), "{}");
  await cp(join(workspace, "pipelines/smoke/pipeline.json"), join(root, "pipelines/smoke/pipeline.json"));
  process.chdir(root);
});
afterAll(async () => {
  process.chdir(from);
  await rm(root, { recursive: true });
});

const sweep = (value: object) =>
  writeFile(join(root, "sweeps/try.json"), JSON.stringify({ pipeline: "smoke", ...value }));

test.each([
  [{ axes: { "train.model.arLayer": [1] } }, 'there is no field "arLayer", did you mean "arLayers"?'],
  [{ axes: { "sample.solver": ["ddmi"] } }, "did you mean ddim?"],
  [{ axes: { "sample.seeds": ["0-"] } }, "expected seeds such as 0-63,100"],
  [{ axes: { "train.model.heads": [2, 3] } }, "model.heads: heads must divide width"],
  [{ axes: { "sample.clip": [true] } }, "sample.clip has no effect"],
  [{ pipeline: "smok", axes: { "sample.steps": [1] } }, 'there is no pipeline "smok", expected one of: smoke'],
  [{ axes: { "sample.steps": [1] }, table: { value: "scor.mean" } }, 'there is no stage "scor"'],
])("a sweep with %j is refused with exit code 2, whatever is asked of it", async (value, message) => {
  await sweep(value);
  for (const word of ["plan", "run", "table", "plot"]) {
    const { code, out, err } = await madformer("sweep", word, "try");
    expect([code, out]).toEqual([2, ""]);
    expect(err).toContain(message);
    expect(err).toMatch(/^Cannot use [^\n]*\n$/);
  }
});

test("wrong words of the command are refused with what is expected", async () => {
  await sweep({ axes: { "sample.steps": [1, 2] } });
  expect(await madformer("sweep", "plan", "tri")).toMatchObject({
    code: 2,
    err: 'Cannot find the sweep "tri", expected one of: try; did you mean try?\n',
  });
  for (const parallel of ["0", "x", "1.5", "1000"])
    expect(await madformer("sweep", "run", "try", `--parallel=${parallel}`)).toMatchObject({
      code: 2,
      err: `--parallel is "${parallel}", expected a number from 1 to 64\n`,
    });
  expect((await madformer("sweep", "table", "try", "--format", "html")).err).toContain(
    "expected one of: markdown, csv",
  );
  expect((await madformer("sweep", "run", "try", "--point", "steps-3")).err).toContain(
    "expected one of: steps-1, steps-2",
  );
  expect((await madformer("sweep", "plott", "try")).code).toBe(2);
});

// Those that come with the project; whoever adds one of their own may leave it half-written.
const TABLES = ["table-1", "table-2", "table-3", "table-4", "table-5", "table-6", "figure-4"];
const PAPER = TABLES.flatMap((table) => [`paper-${table}`, `paper-${table}-imagenet`]);
const SMALL = TABLES.map((table) => `small-${table}`);

/** What of a model the tables vary. */
type Model = Readonly<Record<"arLayers" | "diffusionLayers" | "blocks" | "blockSide", number>>;

/** The points of a sweep of the project's. */
async function pointsOf(name: string) {
  const sweep = await readSweep(workspace, name);
  const file = join(workspace, "pipelines", sweep.pipeline, "pipeline.json");
  const json = async (path: string) => JSON.parse(await readFile(path, "utf8")) as Record<string, never>;
  const defaults = await json(join(workspace, "pipelines/defaults.json"));
  const load = async (uses: string) => await STAGES.find((stage) => stage.name === uses)!.load();
  return { sweep, runs: await runsOf(sweep, { file, value: await json(file), defaults }, load) };
}

test.each(["smoke-steps", ...PAPER, ...SMALL])("%s can run", async (name) => {
  const { sweep, runs } = await pointsOf(name);
  expect(sweep.description).not.toBe("");
  expect(runs).toHaveLength(sweep.points.length);
});

// Points that a table compares have what it does not vary in common: as many layers, as many latent pixels.
test.each([
  ...PAPER.map((name) => [name, 28, name.endsWith("imagenet") ? 32 : 128] as const),
  ...SMALL.map((name) => [name, 4, 4] as const),
])("all points of %s have %i layers, and latents whose side is %i", async (name, layers, side) => {
  const { runs } = await pointsOf(name);
  const models = runs.map(
    ({ stages }) => (stages.find((stage) => stage.name === "train")?.complete as { model: Model }).model,
  );
  for (const { arLayers, diffusionLayers, blocks, blockSide } of models)
    expect([arLayers + diffusionLayers, Math.sqrt(blocks) * blockSide]).toEqual([layers, side]);
  const splits = [...new Set(models.map(({ diffusionLayers }) => diffusionLayers))];
  const quarters = /table-1|figure-4/.test(name) ? [1, 2, 3, 4] : [2]; // of the layers
  expect(splits).toEqual(quarters.map((some) => (some * layers) / 4));
});

test("a table of a sweep that has not run says so", async () => {
  await sweep({ axes: { "sample.steps": [1, 2] } });
  const { code, out } = await madformer("sweep", "table", "try");
  expect(code).toBe(0);
  expect(out).toContain("| steps 1 | (not run) |");
});

test("compare names what can be compared", async () => {
  expect(await madformer("compare", "smoke")).toMatchObject({
    code: 2,
    err: "Cannot compare 1 run, expected 2 to 16\n",
  });
  expect(await madformer("compare", "smoke", "smoke")).toMatchObject({
    code: 2,
    err: 'Cannot compare "smoke": nothing of it has run\n',
  });
  expect((await madformer("compare", "smok", "smoke")).err).toContain(
    "it is no pipeline and no manifest, expected one of: smoke;",
  );
});

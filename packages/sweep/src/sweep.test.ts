import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isName } from "@madformer/stage";
import { checkSweep } from "../plain/sweep-file.mjs";
import { readSweep, sweepNames } from "./sweep.js";
import { sweepOf } from "./testing.js";

const names = (value: object): string[] => sweepOf(value).points.map(({ name }) => name);

describe("the points of a sweep", () => {
  test("are all combinations of its axes, the last one fastest", () => {
    expect(names({ axes: { "train.model.arLayers": [0, 2], "sample.steps": [1, 4] } })).toEqual([
      "ar-layers-0-steps-1",
      "ar-layers-0-steps-4",
      "ar-layers-2-steps-1",
      "ar-layers-2-steps-4",
    ]);
  });

  test("walk in step through axes that are zipped", () => {
    const axes = { "train.a": [1, 2], "sample.steps": [4, 8], "train.b": [3, 4] };
    const { points } = sweepOf({ axes, zip: [["train.a", "train.b"]] });
    expect(points.map(({ values }) => [values["train.a"], values["train.b"], values["sample.steps"]])).toEqual([
      [1, 3, 4],
      [1, 3, 8],
      [2, 4, 4],
      [2, 4, 8],
    ]);
    expect(sweepOf({ axes, zip: ["train.a", "train.b"] }).points).toEqual(points);
  });

  test("leave out what is excluded: one value, several, or a combination", () => {
    const axes = { "sample.solver": ["ddim", "dpm"], "sample.steps": [1, 2, 4] };
    expect(
      names({ axes, exclude: [{ "sample.solver": "ddim", "sample.steps": [1, 2] }, { "sample.steps": 4 }] }),
    ).toEqual(["solver-dpm-steps-1", "solver-dpm-steps-2"]);
  });

  test("are there once a seed, and points that differ in seeds share their setting", () => {
    const { points } = sweepOf({
      axes: { "sample.steps": [4] },
      seeds: { "train.seed": [0, 1], "sample.seeds": ["0-3", "4-7"] },
    });
    expect(points).toEqual([
      {
        name: "seed-0-seeds-0-3",
        setting: { "sample.steps": 4 },
        seed: 0,
        values: { "sample.steps": 4, "train.seed": 0, "sample.seeds": "0-3" },
      },
      {
        name: "seed-1-seeds-4-7",
        setting: { "sample.steps": 4 },
        seed: 1,
        values: { "sample.steps": 4, "train.seed": 1, "sample.seeds": "4-7" },
      },
    ]);
    expect(sweepOf({ seeds: [3, 5] }).points.map(({ values }) => values)).toEqual([
      { "train.seed": 3 },
      { "train.seed": 5 },
    ]);
  });

  test("have names of folders, each its own, whatever the values are", () => {
    const hostile = [
      "a b",
      "a-b",
      "../../x",
      "$(touch x)",
      "\u001b[2J",
      "é".repeat(400),
      { a: [1] },
      null,
      -1,
      0.5,
      "",
    ];
    const found = names({ axes: { "train.name": hostile } });
    expect(new Set(found).size).toBe(hostile.length);
    for (const name of found) expect(isName(name)).toBe(true);
    expect(found[9]).toBe("name-0-5");
    // A name does not depend on points that have another one.
    expect(names({ axes: { "train.name": ["é".repeat(400), "x"] } })[0]).toBe(found[5]);
  });

  test("say the stage where two fields have one name", () => {
    expect(names({ axes: { "train.steps": [1, 2], "sample.steps": [4, 8] } })[0]).toBe("train-steps-1-sample-steps-4");
  });
});

describe("checkSweep()", () => {
  const wrong = (value: unknown): string => {
    try {
      checkSweep(value, "sweeps/try.json", "try");
    } catch (error) {
      return (error as Error).message;
    }
    return "nothing";
  };
  const axes = { "sample.steps": [1, 2], "train.a": [1, 2, 3] };
  const table = { rows: "train.a", columns: "sample.steps", value: "score.mean" };

  test.each([
    [[], "it holds the list [], expected an object with pipeline and axes"],
    [{ pipeline: "p", axes, axis: {} }, 'there is no word "axis", expected one of: $schema, description, pipeline'],
    [{ pipeline: "../x", axes }, '"pipeline" is the text "../x", expected the name of a pipeline'],
    [{ axes }, '"pipeline" is missing'],
    [{ pipeline: "p" }, '"axes" has no field'],
    [{ pipeline: "p", axes: { steps: [1] } }, '"axes": "steps" is no place, expected <stage>.<field>'],
    [{ pipeline: "p", axes: { "sample.__proto__.x": [1] } }, "is no place"],
    [{ pipeline: "p", axes: { "sample.steps": 4 } }, '"sample.steps" is the number 4, expected a list of values'],
    [{ pipeline: "p", axes: { "sample.steps": [] } }, "has no values"],
    [{ pipeline: "p", axes: { "sample.steps": [4, 4] } }, '"sample.steps" has 4 twice'],
    [{ pipeline: "p", axes: { "sample.steps": ["x".repeat(2000)] } }, "has a value of 2002 characters"],
    [
      { pipeline: "p", axes, zip: [["sample.steps", "train.a"]] },
      "as many values of each: sample.steps has 2, train.a has 3",
    ],
    [{ pipeline: "p", axes, zip: [["sample.steps", "train.b"]] }, '"zip" names "train.b", expected one of the axes'],
    [
      { pipeline: "p", axes, exclude: [{ "sample.steps": 3 }] },
      '"exclude" says 3 for "sample.steps", expected one of: 1, 2',
    ],
    [{ pipeline: "p", axes, exclude: [{}] }, "which is everything"],
    [{ pipeline: "p", axes, exclude: [{ "sample.steps": [1, 2] }] }, '"exclude" leaves no point'],
    [{ pipeline: "p", axes, seeds: { "train.s": [1], "sample.s": [1, 2] } }, "lists of 1 and 2 values"],
    [{ pipeline: "p", axes, seeds: { "train.a": [1] } }, '"train.a" is an axis and has seeds'],
    [{ pipeline: "p", axes, table: { ...table, rows: [] } }, '"table" says nothing of "train.a"'],
    [{ pipeline: "p", axes, table: { ...table, rows: ["train.a", "sample.steps"] } }, "as rows and as columns"],
    [{ pipeline: "p", axes, table: { ...table, value: "mean" } }, '"table.value" is the text "mean"'],
    [{ pipeline: "p", axes, table: { ...table, row: 1 } }, '"table" has no word "row"'],
    [{ pipeline: "p", axes, plot: { x: "sample.steps" } }, '"plot.y" is missing'],
    [
      { pipeline: "p", axes: { "sample.solver": ["a"] }, plot: { x: "sample.solver", y: "score.mean" } },
      "expected numbers",
    ],
  ])("refuses %j", (value, message) => expect(wrong(value)).toContain(message));

  test("names all that is wrong at once, and the file", () => {
    expect(wrong({ pipeline: 1, axes: { x: 1 }, zip: 2 })).toMatch(
      /^Cannot use "sweeps\/try.json": .*pipeline.*"x".*"zip"/,
    );
  });

  test("bounds how much a file may mean", () => {
    const many = Array.from({ length: 200 }, (_, i) => i);
    expect(wrong({ pipeline: "p", axes: { "a.b": many, "a.c": many } })).toContain(
      "it has 40000 points, expected 1000",
    );
    expect(wrong({ pipeline: "p", axes: { "a.b": many, "a.c": many, "a.d": many } })).toContain("8000000 combinations");
    let deep: unknown = 1;
    for (let i = 0; i < 50_000; i++) deep = [deep];
    expect(wrong({ pipeline: "p", axes: { "a.b": [deep] } })).toContain("nested more than 16 deep");
    expect(wrong({ pipeline: "p", axes: Object.fromEntries(many.map((i) => [`a.b${i}`, [1]])) })).toContain(
      "200 fields",
    );
  });

  test("more is better for precision and recall", () => {
    const best = (value: string) => sweepOf({ axes, table: { ...table, value } }).table?.best;
    expect([best("score.mean"), best("score.groups.0.recall")]).toEqual(["lower", "higher"]);
  });
});

test("readSweep() finds sweeps by their names, and names what there is", async () => {
  const root = await mkdtemp(join(tmpdir(), "sweep-"));
  try {
    await expect(readSweep(root, "try")).rejects.toThrow('Cannot find the sweep "try", and there is none');
    await mkdir(join(root, "sweeps"));
    await writeFile(join(root, "sweeps", "try.json"), JSON.stringify({ pipeline: "p", axes: { "a.b": [1] } }));
    await writeFile(join(root, "sweeps", "Bad.json"), "{}");
    await writeFile(join(root, "sweeps", "broken.json"), "{");
    expect(await sweepNames(root)).toEqual(["broken", "try"]);
    expect((await readSweep(root, "try")).points).toHaveLength(1);
    await expect(readSweep(root, "tri")).rejects.toThrow("expected one of: broken, try; did you mean try?");
    await expect(readSweep(root, "../x")).rejects.toThrow("Cannot find the sweep");
    await expect(readSweep(root, "broken")).rejects.toThrow("it is no JSON");
    await writeFile(join(root, "sweeps", "broken.json"), " ".repeat(2 ** 20 + 1));
    await expect(readSweep(root, "broken")).rejects.toThrow("it has 1048577 bytes, expected 1048576 at most");
  } finally {
    await rm(root, { recursive: true });
  }
});

import type { Made } from "@madformer/artifacts";
import { formatTable } from "./format.js";
import { coordinateAt, numberAt, type PointResult } from "./results.js";
import { paretoFront, spreadOf } from "./spread.js";
import { tableOf } from "./table.js";
import { placeOf, type SweepPoint } from "../plain/sweep-file.mjs";
import { sweepOf } from "./testing.js";

/** Points with a score each, as if they had run. */
function resultsOf(points: readonly SweepPoint[], score: (point: SweepPoint) => unknown): PointResult[] {
  return points.map((point) => {
    const mean = score(point);
    const facts = { mean, metric: "FD", groups: [{ recall: 0.5 }, { recall: 0.25 }] };
    const made = { manifest: { facts }, record: { stage: "score", seconds: 7 } } as unknown as Made;
    return {
      point: { ...point, value: {}, stages: [] },
      made: new Map(mean === undefined ? [] : [["score", made]]),
    };
  });
}

const SWEEP = sweepOf({
  axes: { "sample.solver": ["ddim", "dpm"], "sample.steps": [1, 2] },
  exclude: [{ "sample.solver": "ddim", "sample.steps": 1 }],
  seeds: { "train.seed": [0, 1] },
  table: { rows: "sample.solver", columns: "sample.steps", value: "score.mean" },
});
const score = ({ values, seed }: SweepPoint): number =>
  (values["sample.solver"] === "ddim" ? 20 : 10) / (values["sample.steps"] as number) + seed;

describe("tableOf() and formatTable()", () => {
  const table = tableOf(SWEEP, resultsOf(SWEEP.points, score), SWEEP.table!);

  test("have mean and spread over seeds, the best in bold, nothing where the sweep has no point", () => {
    expect(formatTable(table, "markdown")).toBe(`|  | steps 1 | steps 2 |
| --- | ---: | ---: |
| solver ddim |  | 10.50 ± 0.71 |
| solver dpm | 10.50 ± 0.71 | **5.500 ± 0.707** |

score.mean of the sweep try, mean ± standard deviation over 2 seeds; lower is better, the best in bold.
`);
    expect(formatTable(table, "csv")).toBe(
      [
        "sample.solver,sample.steps,score.mean mean,deviation,seeds,best",
        "ddim,2,10.5,0.7071067811865476,2,false",
        "dpm,1,10.5,0.7071067811865476,2,false",
        "dpm,2,5.5,0.7071067811865476,2,true",
        "",
      ].join("\r\n"),
    );
    expect(formatTable(table, "latex")).toContain("solver dpm & 10.50 $\\pm$ 0.71 & \\textbf{5.500} $\\pm$ 0.707 \\\\");
    expect(JSON.parse(formatTable(table, "json"))).toMatchObject({
      rows: [{ values: { "sample.solver": "ddim" } }, {}],
      cells: [
        [null, {}],
        [{}, { best: true, spread: { mean: 5.5, values: [5, 6] } }],
      ],
    });
  });

  test("say where seeds are missing, and take the highest where more is better", () => {
    const some = resultsOf(SWEEP.points, (point) =>
      point.seed === 1 || point.values["sample.steps"] === 1 ? undefined : score(point),
    );
    const text = formatTable(tableOf(SWEEP, some, { ...SWEEP.table!, best: "higher" }), "markdown");
    expect(text).toContain("| solver ddim |  | **10.00** (1 of 2 seeds) |");
    expect(text).toContain("| solver dpm | (not run) | 5.000 (1 of 2 seeds) |");
  });

  test("show values as text, whatever they hold", () => {
    const hostile = ["a | b\n<img>", "=1+1", '"x",y', "50%_\\input{a}"];
    const sweep = sweepOf({ axes: { "train.name": hostile }, table: { rows: "train.name", value: "score.mean" } });
    const odd = tableOf(
      sweep,
      resultsOf(sweep.points, () => 1),
      sweep.table!,
    );
    const markdown = formatTable(odd, "markdown");
    expect(markdown).toContain("| name a \\| b \\<img\\> |");
    expect(formatTable(odd, "latex")).toContain("name 50\\%\\_\\textbackslash{}input\\{a\\} &");
    const csv = formatTable(odd, "csv");
    expect(csv).toContain("\r\n'=1+1,1,");
    expect(csv).toContain('\r\n"""x"",y",1,');
  });
});

describe("numberAt()", () => {
  const [result] = resultsOf(SWEEP.points, () => 3) as [PointResult];
  const at = (place: string) => numberAt(result, placeOf(place)!);

  test("takes facts, items of lists, and times of the record", () => {
    expect([
      at("score.mean"),
      at("score.groups.0.recall"),
      at("score.groups.last.recall"),
      at("score.seconds"),
    ]).toEqual([3, 0.5, 0.25, 7]);
    expect(at("sample.nfe")).toBeUndefined(); // has not run
    expect(coordinateAt(result, "sample.steps")).toBe(2);
  });

  test("names the numbers that there are", () => {
    expect(() => at("score.metric")).toThrow(
      'Cannot find a number at "score.metric" of solver-ddim-steps-2-seed-0: found "FD", expected one of: score.mean, score.groups.last.recall, score.seconds',
    );
    expect(() => at("score.constructor")).toThrow("found nothing");
  });
});

test("spreadOf() is mean and sample deviation", () => {
  expect(spreadOf([1, 3])).toEqual({ mean: 2, deviation: Math.SQRT2, values: [1, 3] });
  expect(spreadOf([5])?.deviation).toBeUndefined();
  expect(spreadOf([])).toBeUndefined();
});

test("paretoFront() keeps what nothing is better than in both ways", () => {
  const points = [
    [1, 9],
    [2, 9],
    [2, 5],
    [3, 6],
    [4, 5],
    [5, 1],
  ] as const;
  expect(
    paretoFront(
      points,
      ([x]) => x,
      ([, y]) => y,
    ),
  ).toEqual([
    [1, 9],
    [2, 5],
    [5, 1],
  ]);
});

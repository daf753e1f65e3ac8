/** The page of a sweep, and its plots as files. */
import { renderSweep, sweepSvg, type SweepPage, type SweepPlot } from "@madformer/report";

const HOSTILE = `"><script>alert(1)</script><img src=x onerror='alert(2)'>`;
const PNG = "data:image/png;base64,iVBORw0KGgo=";

const PLOT: SweepPlot = {
  ...{ id: "plot", title: "score.mean against sample.nfe", xLabel: "sample.nfe", yLabel: "score.mean" },
  series: [
    {
      name: "solver ddim",
      marks: [
        { x: 4, y: 20, deviation: 2, label: "solver ddim, steps 1", href: "pipelines/a/out/report/files/index.html" },
        { x: 400, y: 10, label: "solver ddim, steps 100" },
      ],
    },
  ],
};
const pageOf = (more: Partial<SweepPage> = {}): string =>
  renderSweep({
    ...{ title: "steps", description: "Steps.", summary: "All has run.", numbers: [["Points", "2"]], commands: "x" },
    value: "score.mean",
    table: {
      caption: "c",
      columns: ["steps 1"],
      rows: [{ label: "r", cells: [{ text: "1.5", note: "", best: true }] }],
    },
    plots: [PLOT],
    points: [
      {
        ...{ label: "steps 1", seed: "seed 0", value: "1.5", seconds: 61, digest: "ab".repeat(32) },
        report: "pipelines/a/out/report/files/index.html",
      },
    ],
    samples: {
      seeds: ["0", "1"],
      rows: [{ label: "steps 1", pictures: [{ src: PNG, width: 32, height: 32, reduced: 1 }, undefined] }],
    },
    ...more,
  });

describe("renderSweep()", () => {
  test("shows values on hover, error bars, log axes, and links each point to its report and lineage", () => {
    const text = pageOf();
    expect(text).toContain("<title>solver ddim, steps 1\nscore.mean 20.00 ± 2.000\nsample.nfe 4</title>");
    expect(text).toContain('<a href="pipelines/a/out/report/files/index.html" aria-label="solver ddim, steps 1');
    expect(text).toMatch(/class="bar s0"/);
    expect(text).toMatch(/name="plot-scale"\s+value="log"\s+checked/);
    expect(text).toContain('<a href="pipelines/a/out/report/files/index.html#lineage">lineage</a>');
    expect(text).toContain("<strong>1.5</strong>");
    expect(text).toMatch(/<th scope="col">seed 0<\/th>/);
    expect(text).toContain(`src="${PNG}"`);
    expect(text).toContain("1 min 1 s");
  });

  test("has no log axis where a value is 0", () => {
    const zero = {
      ...PLOT,
      series: [
        {
          name: "a",
          marks: [
            { x: 0, y: 1, label: "a" },
            { x: 1, y: 2, label: "b" },
          ],
        },
      ],
    };
    expect(pageOf({ plots: [zero] })).not.toContain('name="plot-scale"');
  });

  test("shows markup in data as text", () => {
    const marks = [{ x: 1, y: 1, label: HOSTILE }];
    const row = { label: HOSTILE, cells: [{ text: HOSTILE, note: HOSTILE, best: false }] };
    const hostile: SweepPage = {
      ...{ title: HOSTILE, description: HOSTILE, summary: HOSTILE, commands: HOSTILE, value: HOSTILE },
      numbers: [[HOSTILE, HOSTILE]],
      table: { caption: HOSTILE, columns: [HOSTILE], rows: [row] },
      plots: [{ ...PLOT, title: HOSTILE, xLabel: HOSTILE, yLabel: HOSTILE, series: [{ name: HOSTILE, marks }] }],
      points: [{ label: HOSTILE, seed: HOSTILE, value: HOSTILE, seconds: 1, report: HOSTILE, digest: HOSTILE }],
      samples: { seeds: [HOSTILE], rows: [{ label: HOSTILE, pictures: [undefined] }] },
    };
    const text = renderSweep(hostile);
    expect(text.match(/<script/g)).toHaveLength(1);
    expect(text).not.toContain("<img");
    const [plot] = hostile.plots;
    expect(sweepSvg(plot!)).not.toContain("<script");
  });
});

describe("sweepSvg()", () => {
  const svg = sweepSvg({ ...PLOT, front: PLOT.series[0]!.marks });

  test("needs nothing else: it has its colours, a legend and no links", () => {
    expect(svg).toMatch(
      /^<\?xml version="1.0" encoding="UTF-8"\?>\n<svg xmlns="http:\/\/www.w3.org\/2000\/svg" viewBox=/,
    );
    expect(svg).toContain(".s0 { stroke: #");
    expect(svg).toMatch(/>Pareto front<\/text>.*>solver ddim<\/text>/s);
    expect(svg).not.toMatch(/<a |var\(--/);
  });

  test("has a logarithmic axis where values are wide apart: equal factors are equal lengths", () => {
    const marks = [4, 40, 400].map((x) => ({ x, y: 1 + x / 400, label: String(x) }));
    const wide = sweepSvg({ ...PLOT, series: [{ name: "a", marks }] });
    const xs = [...wide.matchAll(/<circle class="s0" cx="([\d.]+)"/g)].map(([, x]) => Number(x));
    expect(xs).toHaveLength(3);
    expect(xs[1]! - xs[0]!).toBeCloseTo(xs[2]! - xs[1]!, 0);
  });
});

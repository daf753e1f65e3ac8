import { chart, type ChartSpec } from "./chart.js";
import type { Point } from "./curve.js";

const SIZE = { width: 400, height: 200 };
const spec = (points: readonly Point[], more: Partial<ChartSpec> = {}): ChartSpec => ({
  description: "d",
  xLabel: "training step",
  yLabel: "y",
  scale: "linear",
  series: [{ name: "a", points }],
  ...more,
});
const draw = (...args: Parameters<typeof spec>): string => chart(spec(...args), SIZE).text;
/** Texts at the vertical axis, from below. */
const yTicks = (svg: string): string[] =>
  [...svg.matchAll(/text-anchor="end"\s*>\s*([^<\s]+)\s*<\/text/g)].map((m) => m[1] ?? "");
const pathOf = (svg: string, name: string): Point[] => {
  const d = new RegExp(`class="${name} s0" d="M([^"]*)"`).exec(svg)?.[1] ?? "";
  return d.split("L").map((pair) => pair.split(",").map(Number) as [number, number]);
};

describe("chart()", () => {
  test("draws larger values higher, later steps further right, inside the drawing", () => {
    const points = pathOf(
      draw([
        [0, 1],
        [50, 3],
        [100, 2],
      ]),
      "curve",
    );
    expect(points).toHaveLength(3);
    const [[x0, y0], [x1, y1], [x2, y2]] = points as [Point, Point, Point];
    expect(x1).toBeCloseTo((x0 + x2) / 2, 1);
    expect(y1).toBeLessThan(y2);
    expect(y2).toBeLessThan(y0);
    for (const [x, y] of points) expect(x >= 52 && x <= 386 && y >= 12 && y <= 160).toBe(true);
  });

  test("holds what is included: a distance starts at 0", () => {
    expect(
      yTicks(
        draw([
          [1, 80],
          [2, 100],
        ]),
      )[0],
    ).not.toBe("0");
    expect(
      yTicks(
        draw(
          [
            [1, 80],
            [2, 100],
          ],
          { include: [0] },
        ),
      )[0],
    ).toBe("0");
  });

  test("has the same distance between powers of ten on a logarithmic axis", () => {
    const ys = pathOf(
      draw(
        [
          [0, 1000],
          [1, 100],
          [2, 10],
          [3, 1],
        ],
        { scale: "log" },
      ),
      "curve",
    ).map(([, y]) => y);
    const [a = 0, b = 0, c = 0, d = 0] = ys;
    expect(b - a).toBeCloseTo(c - b, 0);
    expect(d - c).toBeCloseTo(c - b, 0);
  });

  test.each<[number, number, string[]]>([
    [0.1, 0.5, ["0.1", "0.2", "0.3", "0.4", "0.5"]],
    [0.05, 1, ["0.05", "0.1", "0.2", "0.5", "1"]],
    [0.001, 1, ["0.001", "0.01", "0.1", "1"]],
    [1e-4, 1e6, ["0.0001", "0.1", "100", "100k"]],
  ])("labels a logarithmic axis from %d to %d with few round numbers", (low, high, ticks) => {
    expect(
      yTicks(
        draw(
          [
            [0, low],
            [1, high],
          ],
          { scale: "log" },
        ),
      ).filter((text) => text !== "training"),
    ).toEqual(ticks);
  });

  test.each<[string, readonly Point[]]>([
    ["one point", [[3, 5]]],
    [
      "a constant",
      [
        [1, 2],
        [2, 2],
      ],
    ],
    [
      "zeros",
      [
        [0, 0],
        [1, 0],
      ],
    ],
    ["nothing", []],
  ])("draws %s without a coordinate that is none", (_, points) => {
    for (const scale of ["linear", "log"] as const)
      expect(draw(points, { scale })).not.toMatch(/NaN|Infinity|undefined/);
  });

  test("leaves out of a logarithmic axis what has no place there", () => {
    const svg = draw(
      [
        [0, 10],
        [1, 0],
        [2, -5],
        [3, 1],
      ],
      { scale: "log" },
    );
    expect(pathOf(svg, "curve")).toHaveLength(2);
  });

  test("draws what a curve was smoothed from, thin and behind it", () => {
    const svg = draw([], {
      series: [
        {
          name: "a",
          points: [
            [0, 1],
            [1, 1],
          ],
          raw: [
            [0, 0],
            [1, 2],
          ],
        },
      ],
    });
    expect(pathOf(svg, "raw")).toHaveLength(2);
    expect(svg.indexOf('class="raw')).toBeLessThan(svg.indexOf('class="curve'));
  });

  test("writes values beside dots where there is room, and escapes them", () => {
    const points = [
      [0, 3],
      [1, 2],
      [2, 1],
    ] satisfies Point[];
    const labelled = { name: "a", points, dots: true, label: (y: number) => `<${y}>` };
    const svg = draw([], { description: '"<d>"', series: [labelled] });
    expect(svg.match(/<circle/g)).toHaveLength(3);
    expect(svg).toContain("&lt;3&gt;");
    expect(svg).toContain('aria-label="&quot;&lt;d&gt;&quot;"');
    const many = Array.from({ length: 40 }, (_, i): Point => [i, i]);
    expect(draw([], { series: [{ ...labelled, points: many }] })).not.toContain("&lt;3&gt;");
  });
});

import { formatNumber, formatScore } from "../html/format.js";
import { escapeHtml } from "../html/html.js";
import { PALETTES } from "../page/style.js";
import { chart, SERIES_COLORS, type About, type ChartSpec, type Series } from "../plot/chart.js";
import type { Point } from "../plot/curve.js";
import type { SweepMark, SweepPlot } from "./data.js";

/** Values over less than this look the same on a logarithmic axis. */
const WIDE = 3;

/** The charts of a plot: linear, and logarithmic along the axes that are wide enough, if everything is above 0. */
export function chartsOf(plot: SweepPlot): ChartSpec[] {
  const marks = plot.series.flatMap((one) => one.marks);
  const [xs, ys] = [marks.map(({ x }) => x), marks.map(({ y }) => y)];
  const canBeLog = (values: readonly number[]): boolean => Math.min(...values) > 0;
  const isWide = (values: readonly number[]): boolean => Math.max(...values) / Math.min(...values) >= WIDE;
  const linear = specOf(plot, "linear", "linear");
  if (!canBeLog(xs) || !canBeLog(ys)) return [linear];
  const log = specOf(plot, "log", isWide(xs) ? "log" : "linear");
  return isWide(xs) ? [log, linear] : [linear, log];
}

function specOf(plot: SweepPlot, scale: "linear" | "log", xScale: "linear" | "log"): ChartSpec {
  const front: Series[] = plot.front
    ? [{ name: "Pareto front", points: plot.front.map(({ x, y }): Point => [x, y]) }]
    : [];
  const loose = plot.front !== undefined;
  const count = plot.series.flatMap(({ marks }) => marks).length;
  return {
    description: `${plot.title}: ${count} settings; ${plot.series.map(({ name, marks }) => inWords(name, marks)).join("; ")}`,
    xLabel: plot.xLabel,
    yLabel: plot.yLabel,
    ...{ scale, xScale },
    series: [...front, ...plot.series.map(({ name, marks }) => seriesOf(name, marks, plot, loose))],
  };
}

function seriesOf(name: string, marks: readonly SweepMark[], plot: SweepPlot, loose: boolean): Series {
  const about = new Map<Point, About>();
  const points = marks.map((mark): Point => {
    const point: Point = [mark.x, mark.y];
    const { deviation, href } = mark;
    const bar = deviation === undefined ? undefined : ([mark.y - deviation, mark.y + deviation] as const);
    about.set(point, { title: titleOf(mark, plot), href, bar });
    return point;
  });
  return { name: name || plot.yLabel, points, dots: true, loose, about };
}

function titleOf({ x, y, deviation, label }: SweepMark, { xLabel, yLabel }: SweepPlot): string {
  const spread = deviation === undefined ? "" : ` ± ${formatScore(deviation)}`;
  return `${label}\n${yLabel} ${formatScore(y)}${spread}\n${xLabel} ${formatNumber(x)}`;
}

function inWords(name: string, marks: readonly SweepMark[]): string {
  const [first, last] = [marks[0], marks.at(-1)];
  if (!first || !last) return name;
  return `${name || "all"} from ${formatScore(first.y)} at ${formatNumber(first.x)} to ${formatScore(last.y)} at ${formatNumber(last.x)}`;
}

const SIZE = { width: 720, height: 420 };
const LINE = 20;

/** A plot as a file of its own: SVG with its colours and a legend, which needs nothing else. */
export function sweepSvg(plot: SweepPlot): string {
  const [spec] = chartsOf(plot);
  if (spec === undefined) return "";
  const names = spec.series.map(({ name }) => name);
  const above = 34 + names.length * LINE;
  const inner = chart(withoutLinks(spec), SIZE).text;
  const body = inner.slice(inner.indexOf(">") + 1, inner.lastIndexOf("</svg>"));
  const { light } = PALETTES;
  const colors = Array.from({ length: SERIES_COLORS }, (_, i) => light[`c${i}` as keyof typeof light]);
  const style = [
    "text { font: 12px sans-serif; fill: #625c53; } .title { font-weight: 600; fill: #211f1b; }",
    `.grid line { stroke: ${light.line}; } .base { stroke: ${light.soft}; }`,
    ".curve { fill: none; stroke-width: 2; } .bar { fill: none; stroke-width: 1.25; } .aim { fill: transparent; }",
    ...colors.map((color, i) => `.s${i} { stroke: ${color}; } circle.s${i} { fill: ${color}; stroke: #fff; }`),
  ].join("\n");
  const legend = names.map((name, i) => {
    const y = 42 + i * LINE;
    return `<path class="curve s${i % SERIES_COLORS}" d="M14,${y - 4}H38" /><text x="46" y="${y}">${escapeHtml(name)}</text>`;
  });
  const yLabel = `<text class="title" x="14" y="20">${escapeHtml(plot.title)}</text>`;
  return `<?xml version="1.0" encoding="UTF-8"?>
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${SIZE.width} ${SIZE.height + above}" width="${SIZE.width}" height="${SIZE.height + above}">
<style>${style}</style>
<rect width="100%" height="100%" fill="#fff" />
${yLabel}
${legend.join("\n")}
<g transform="translate(0 ${above})">${body}</g>
</svg>
`;
}

/** Links would lead from wherever the file is opened. */
function withoutLinks(spec: ChartSpec): ChartSpec {
  return {
    ...spec,
    series: spec.series.map((series) => ({
      ...series,
      ...(series.about && {
        about: new Map([...series.about].map(([point, about]) => [point, { ...about, href: undefined }])),
      }),
    })),
  };
}

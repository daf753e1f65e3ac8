import { extent, range } from "d3-array";
import { scaleLinear, scaleLog, type ScaleContinuousNumeric } from "d3-scale";
import { line } from "d3-shape";
import { formatTick } from "../html/format.js";
import { html, type Html } from "../html/html.js";
import type { Point } from "./curve.js";

/** What is known of a point besides where it lies. */
export interface About {
  /** Shown when it is pointed at. */
  readonly title: string;
  /** Where a click leads. */
  readonly href?: string | undefined;
  /** The ends of its error bar, vertically. */
  readonly bar?: readonly [low: number, high: number] | undefined;
}

/** One curve of a chart. */
export interface Series {
  readonly name: string;
  readonly points: readonly Point[];
  /** Drawn thin behind it: what the curve was smoothed from. */
  readonly raw?: readonly Point[];
  /** A dot at every point. */
  readonly dots?: boolean;
  /** Beside every dot, if there is room. */
  readonly label?: (y: number) => string;
  /** Dots alone, without a curve through them. */
  readonly loose?: boolean;
  readonly about?: ReadonlyMap<Point, About>;
}

/** What a chart shows, whatever its size. */
export interface ChartSpec {
  /** What people hear who do not see it. */
  readonly description: string;
  readonly xLabel: string;
  readonly yLabel: string;
  /** Points that a logarithmic axis has no place for are not drawn. */
  readonly scale: "linear" | "log";
  /** Of the horizontal axis; linear by default. */
  readonly xScale?: "linear" | "log";
  /** What the vertical axis must hold besides the points. */
  readonly include?: readonly number[];
  readonly series: readonly Series[];
}

export interface ChartSize {
  readonly width: number;
  readonly height: number;
}

/** Colours (and dashes) there are: further series take them again. */
export const SERIES_COLORS = 6;

const MARGIN = { top: 12, right: 14, bottom: 40, left: 52 };

/** A chart as inline SVG. Its colours are classes: the page's style gives them, light or dark. */
export function chart(spec: ChartSpec, size: ChartSize, className = ""): Html {
  const { scale, xScale: across = "linear" } = spec;
  const drawable = (points: readonly Point[]): readonly Point[] =>
    points.filter(([x, y]) => (scale === "linear" || y > 0) && (across === "linear" || x > 0));
  const series = spec.series.map((each) => ({
    ...each,
    points: drawable(each.points),
    raw: each.raw && drawable(each.raw),
  }));
  const all = series.flatMap(({ points, raw = [] }) => [...points, ...raw]);
  const [right, bottom] = [size.width - MARGIN.right, size.height - MARGIN.bottom];
  const ends = series.flatMap(({ points, about }) => points.flatMap((point) => about?.get(point)?.bar ?? []));
  const xs = all.map(([x]) => x);
  const x = across === "log" ? logScale(xs, [MARGIN.left, right]) : scaleLinear(domainOf(xs), [MARGIN.left, right]);
  const y = yScale(spec, [...all.map(([, y]) => y), ...ends], [bottom, MARGIN.top]);
  const xTicks = ticksOf(x, across, Math.max(2, Math.round(size.width / 110)));
  const yTicks = ticksOf(y, spec.scale, Math.max(3, Math.round(size.height / 55)));
  const path = line<Point>()
    .x(([px]) => round(x(px)))
    .y(([, py]) => round(y(py)));
  return html`<svg
    class="chart ${className}"
    viewBox="0 0 ${size.width} ${size.height}"
    role="img"
    aria-label="${spec.description}"
  >
    <g class="grid">
      ${yTicks.map((t) => html`<line x1="${MARGIN.left}" x2="${right}" y1="${round(y(t))}" y2="${round(y(t))}" />`)}
    </g>
    <g class="ticks" aria-hidden="true">
      ${yTicks.map((t) => html`<text x="${MARGIN.left - 8}" y="${round(y(t) + 4)}" text-anchor="end">${formatTick(t)}</text>`)}
      ${xTicks.map((t) => html`<text x="${round(x(t))}" y="${bottom + 18}" text-anchor="middle">${formatTick(t)}</text>`)}
      <text x="${right}" y="${size.height - 4}" text-anchor="end" class="axis">${spec.xLabel}</text>
    </g>
    <line class="base" x1="${MARGIN.left}" x2="${right}" y1="${bottom}" y2="${bottom}" />
    ${series.map(({ raw }, i) => raw && html`<path class="raw s${i % SERIES_COLORS}" d="${path(raw)}" />`)}
    ${series.map(({ points, loose = false }, i) => !loose && html`<path class="curve s${i % SERIES_COLORS}" d="${path(points)}" />`)}
    ${series.map(({ points, about }, i) => bars(points, about, i, x, y, bottom))}
    ${series.map((each, i) => dots(each, i, (p) => [round(x(p[0])), round(y(p[1]))], right))}
  </svg>`;
}

function bars(
  points: readonly Point[],
  about: Series["about"],
  i: number,
  x: Scale,
  y: Scale,
  bottom: number,
): readonly (Html | false)[] {
  return points.map((point) => {
    const bar = about?.get(point)?.bar;
    if (bar === undefined) return false;
    const [px, high] = [round(x(point[0])), round(y(bar[1]))];
    const low = Math.min(bottom, Number.isFinite(y(bar[0])) ? round(y(bar[0])) : bottom); // nothing is below a log axis
    return html`<path
      class="bar s${i % SERIES_COLORS}"
      d="M${px - 3},${high}H${px + 3}M${px},${high}V${low}M${px - 3},${low}H${px + 3}"
    />`;
  });
}

function dots(
  series: Pick<Series, "points" | "label" | "dots" | "about">,
  i: number,
  at: (point: Point) => [number, number],
  right: number,
): Html | false {
  const { points, label, about } = series;
  if (!series.dots) return false;
  const roomy = label !== undefined && points.length <= right / 60;
  const s = `s${i % SERIES_COLORS}`;
  const places = points.map(at);
  return html`<g class="dots" ${about === undefined && html`aria-hidden="true"`}>
    ${places.map(([px, py], k) => {
      const next = places[k + 1];
      const falling = next !== undefined && next[1] - py > (next[0] - px) / 3;
      // Beside a curve that falls to the right.
      const anchor = next === undefined ? "end" : falling ? "start" : "middle";
      return html`${dot(s, px, py, about?.get(points[k] as Point))}
      ${roomy && html`<text x="${px + (falling ? 7 : 0)}" y="${py - (falling ? 5 : 10)}" text-anchor="${anchor}">${label((points[k] as Point)[1])}</text>`}`;
    })}
  </g>`;
}

/** A dot; where something is known of it, with a ring around it that is easier to point at. */
function dot(s: string, px: number, py: number, about: About | undefined): Html {
  const circle = html`<circle class="${s}" cx="${px}" cy="${py}" r="3.5" />`;
  if (about === undefined) return circle;
  const mark = html`${circle}<circle class="aim" cx="${px}" cy="${py}" r="10"><title>${about.title}</title></circle>`;
  return about.href === undefined ? mark : html`<a href="${about.href}" aria-label="${about.title}">${mark}</a>`;
}

type Scale = ScaleContinuousNumeric<number, number>;

function yScale(spec: ChartSpec, ys: readonly number[], ends: readonly [number, number]): Scale {
  const values = [...ys, ...(spec.include ?? [])];
  return spec.scale === "linear" ? scaleLinear(domainOf(values), ends).nice() : logScale(values, ends);
}

function logScale(values: readonly number[], ends: readonly [number, number]): Scale {
  const positive = values.filter((value) => value > 0);
  const [low, high] = positive.length === 0 ? [1, 10] : domainOf(positive);
  const pad = Math.max(1.02, (high / low) ** 0.04);
  return scaleLog([low / pad, high * pad], ends);
}

/** Smallest and largest value. Where they are the same, d3 puts it in the middle. */
function domainOf(values: readonly number[]): [number, number] {
  const [low = 0, high = 1] = extent(values);
  return [low, high];
}

/** Over less than a decade as a linear axis has them; else the 1, 2, 5 of each decade, or fewer of them. */
function ticksOf(scale: Scale, kind: ChartSpec["scale"], n: number): number[] {
  const [low = 0, high = 1] = scale.domain();
  if (kind === "linear") return scale.ticks(n);
  if (high / low < 10) return scaleLinear([low, high], [0, 1]).ticks(n);
  const decades = range(Math.floor(Math.log10(low)), Math.ceil(Math.log10(high)) + 1);
  const choices = [[1, 2, 5], [1, 3], [1]].map((leading) =>
    decades.flatMap((e) => leading.map((m) => Number(`${m}e${e}`))).filter((tick) => tick >= low && tick <= high),
  );
  const powers = choices.at(-1) ?? [];
  const every = Math.ceil(powers.length / n); // of very many decades, every second, third, ...
  return choices.find((ticks) => ticks.length <= n + 1) ?? powers.filter((_, k) => k % every === 0);
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

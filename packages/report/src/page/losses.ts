import { count, formatNumber } from "../html/format.js";
import { html, type Html } from "../html/html.js";
import type { ChartSpec } from "../plot/chart.js";
import { SERIES_COLORS } from "../plot/chart.js";
import { pointsOf, smooth, thin } from "../plot/curve.js";
import { plot } from "../plot/figure.js";
import { columnKind, type ColumnKind, type LossTable } from "../read/losses.js";

/**
 * Points of a curve are drawn in so many buckets: more than the page has pixels for them would be bytes for nothing.
 */
const BUCKETS = 400;

/** What of a table is drawn, and how. */
const PANELS: readonly { kind: ColumnKind; title: string; smoothed: boolean; log: boolean }[] = [
  { kind: "learning rate", title: "Learning rate", smoothed: false, log: false },
  { kind: "gradient norm", title: "Gradient norm", smoothed: true, log: true },
  { kind: "accuracy", title: "Accuracy", smoothed: true, log: false },
];

/**
 * The curves of a training: its losses over the whole width, then what else it wrote down.
 *
 * @param id In front of the plots' anchors.
 * @param what Whose losses, such as `training`.
 * @param smoothing Time constant, share of all steps.
 */
export function lossPlots(table: LossTable, id: string, what: string, smoothing: number): Html {
  const columnsOf = (kind: ColumnKind): string[] =>
    [...table.columns.keys()].filter((name) => columnKind(name) === kind);
  const isZero = (name: string): boolean => table.columns.get(name)?.every((value) => value === 0) ?? true;
  const [zero, losses] = [columnsOf("loss").filter(isZero), columnsOf("loss").filter((name) => !isZero(name))];
  losses.sort((a, b) => rank(a) - rank(b));
  const groups = Array.from({ length: Math.ceil(losses.length / SERIES_COLORS) }, (_, i) =>
    losses.slice(i * SERIES_COLORS, (i + 1) * SERIES_COLORS),
  );
  return html`${zero.length > 0 && html`<p class="note">${zero.join(", ")}: 0 at every step, not drawn.</p>`}
    <div class="plots">
      ${groups.map((columns, i) =>
        curves(table, columns, {
          id: `${id}-losses${i === 0 ? "" : `-${i + 1}`}`,
          title: `${columns.length === 1 ? "Loss" : "Losses"} of ${what}${i === 0 ? "" : ", continued"}`,
          smoothing,
          log: true,
          wide: true,
        }),
      )}
      ${PANELS.map(({ kind, title, smoothed, log }) => {
        const columns = columnsOf(kind).slice(0, SERIES_COLORS);
        if (columns.length === 0) return undefined;
        return curves(table, columns, {
          id: `${id}-${kind.replaceAll(" ", "-")}`,
          title,
          smoothing: smoothed ? smoothing : 0,
          log,
          wide: false,
        });
      })}
    </div>`;
}

interface CurveOptions {
  readonly id: string;
  readonly title: string;
  readonly smoothing: number;
  readonly log: boolean;
  readonly wide: boolean;
}

function curves(table: LossTable, columns: readonly string[], options: CurveOptions): Html | undefined {
  const { steps } = table;
  const window = options.smoothing * steps.length;
  const smoothed = new Map(
    columns.map((name) => {
      const values = table.columns.get(name) ?? [];
      return [name, window >= 2 ? smooth(values, window) : values];
    }),
  );
  const drawn = columns.filter((name) => smoothed.get(name)?.some(Number.isFinite));
  const [first] = drawn;
  if (first === undefined) return undefined;
  const span = (steps.at(-1) ?? 0) - (steps[0] ?? 0);
  const spec = (scale: ChartSpec["scale"]): ChartSpec => ({
    description: `${options.title} by step: ${drawn.map((name) => inWords(name, steps, smoothed.get(name) ?? [])).join("; ")}`,
    xLabel: "training step",
    yLabel: options.title,
    scale,
    include: scale === "linear" && options.log ? [0] : [],
    series: drawn.map((name) => ({
      name,
      points: thin(pointsOf(steps, smoothed.get(name) ?? []), BUCKETS),
      ...(window >= 2 && { raw: thin(pointsOf(steps, table.columns.get(name) ?? []), BUCKETS) }),
    })),
  });
  // Where a curve has nothing above 0, it would be missing from a logarithmic axis: then there is only the linear one.
  const positive = drawn.every((name) => smoothed.get(name)?.some((value) => value > 0));
  return plot({
    id: options.id,
    title: options.title,
    wide: options.wide,
    charts: options.log && positive ? [spec("log"), spec("linear")] : [spec("linear")],
    caption: html`${
      window >= 2 &&
      `Thick: mean around each step, with weights that fall to 1/e in ${count(Math.max(1, Math.round(options.smoothing * span)), "step")}. Thin: as it was written down. `
    }${options.wide && `${capitalized(inWords(first, steps, smoothed.get(first) ?? []))}.`}`,
  });
}

/** `loss goes from 1.02 to 0.134, lowest 0.131 at step 3,900` */
function inWords(name: string, steps: readonly number[], values: readonly number[]): string {
  const points = pointsOf(steps, values);
  const [first, last] = [points[0], points.at(-1)];
  if (!first || !last) return `${name} has no values`;
  const low = points.reduce((least, point) => (point[1] < least[1] ? point : least), first);
  return `${name} goes from ${formatNumber(first[1], 3)} to ${formatNumber(last[1], 3)}, lowest ${formatNumber(low[1], 3)} at step ${formatNumber(low[0])}`;
}

function capitalized(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** The sum comes first: it has the first colour and the caption. */
function rank(column: string): number {
  return /^(loss|total|losses\.total)$/.test(column) ? 0 : 1;
}

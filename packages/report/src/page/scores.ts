import { count, formatNumber, formatScore } from "../html/format.js";
import { html, type Html } from "../html/html.js";
import type { Point } from "../plot/curve.js";
import { plot } from "../plot/figure.js";
import type { ChartSpec } from "../plot/chart.js";
import { mainGroup, measured, type ScoreFacts, type ScoreGroup } from "../read/facts.js";
import type { Run } from "../run.js";
import { digestCode, scrolling, type Section } from "./section.js";

/** The scores: what they are, against training, and in numbers. */
export function scoresSection(run: Run): Section | undefined {
  const { score } = run;
  if (!score) return undefined;
  const stepped = score.groups
    .filter((group): group is ScoreGroup & { step: number } => typeof group.step === "number")
    .sort((a, b) => a.step - b.step);
  return {
    id: "scores",
    title: "Scores",
    content: html`${explanation(run, score)}
    ${stepped.length > 1 && html`<div class="plots">${distancePlot(score, stepped)}${sharesPlot(score, stepped)}</div>`}
    ${table(score)}${meanings(score)}${evaluations(score)}`,
  };
}

function explanation({ features }: Run, { metric, floor, spread }: ScoreFacts): Html {
  return html`<p>
      ${metric} is the Fréchet distance between two Gaussians: one fitted to features of the samples, one to features of
      the data. 0 means that the two have the same mean and covariance; smaller is better. It falls with the number of
      samples, so only scores over equally many compare.
      ${
        floor &&
        `The floor is what perfect samples would get: ${count(floor.samples, "image")} of the data, chosen at random and held out, are at a distance of ${formatScore(floor.distance)} from the ${formatNumber(floor.referenceImages)} others.`
      }
      ${
        spread &&
        `Over ${formatNumber(spread.sets)} sets of ${count(spread.samples, "seed")} the newest checkpoint has ${spreadOf(spread, "distance")}: so far scores differ by chance.`
      }
    </p>
    ${features && html`<p>${networkOf(features)}</p>`}`;
}

/** Mean and standard deviation over sets of seeds. */
function spreadOf({ mean, std }: NonNullable<ScoreFacts["spread"]>, name: string): string | undefined {
  const [middle, deviation] = [mean[name], std[name]];
  return middle === undefined || deviation === undefined
    ? undefined
    : `${formatScore(middle)} ± ${formatScore(deviation)}`;
}

/** What the numbers beside the distance tell. */
function meanings({ measures }: ScoreFacts): Html | false {
  const told = Object.values(measures).filter(({ meaning }) => meaning);
  return (
    told.length > 0 &&
    html`<details>
      <summary>What the other numbers tell</summary>
      <dl>
        ${told.map(
          ({ label, best, meaning }) =>
            html`<dt>${label}</dt>
              <dd>${meaning} ${best === "lower" ? "Lower" : "Higher"} is better.</dd>`,
        )}
      </dl>
    </details>`
  );
}

function networkOf({ network, networkDigest, dims, resize }: NonNullable<Run["features"]>): Html {
  const inception = network === "inception";
  const details = [networkDigest && html`weights ${digestCode(networkDigest)}`, resize && `resize ${resize}`];
  const known = details.filter(Boolean);
  return html`The features are ${dims ? `${formatNumber(dims)} numbers an image from` : "from"}
  ${inception ? "the Inception network of the FID" : html`the network <code>${network}</code>`}${
    known.length > 0 && html` (${known.map((each, i) => html`${i > 0 && ", "}${each}`)})`
  }.
  ${
    !inception &&
    "This is not the FID, whose features come from Inception: compare it with other runs here, not with numbers from papers."
  }`;
}

function distancePlot(score: ScoreFacts, groups: readonly (ScoreGroup & { step: number })[]): Html {
  const points = groups.map(({ step, distance }): Point => [step, distance]);
  const [first, last] = [groups[0], groups.at(-1)];
  const { floor } = score;
  const spec = (scale: ChartSpec["scale"]): ChartSpec => ({
    description:
      first && last
        ? `${score.metric} goes from ${formatScore(first.distance)} at step ${formatNumber(first.step)} to ${formatScore(last.distance)} at step ${formatNumber(last.step)}; all values are in the table below`
        : score.metric,
    xLabel: "training step",
    yLabel: score.metric,
    scale,
    include: scale === "linear" ? [0] : [],
    series: [
      { name: score.metric, points, dots: true, label: formatScore },
      ...(floor && first && last
        ? [{ name: "floor", points: [first.step, last.step].map((step): Point => [step, floor.distance]) }]
        : []),
    ],
  });
  const positive = points.every(([, y]) => y > 0) && (floor?.distance ?? 1) > 0;
  const counts = new Set(groups.map(({ samples }) => samples));
  return plot({
    id: "plot-distance",
    ...(counts.size > 1 && {
      caption:
        "The groups were scored over different numbers of samples, see the table: fewer samples, larger distance.",
    }),
    title: `${score.metric} against training`,
    charts: positive ? [spec("linear"), spec("log")] : [spec("linear")],
  });
}

function sharesPlot({ measures }: ScoreFacts, groups: readonly (ScoreGroup & { step: number })[]): Html | undefined {
  const shares = Object.entries(measures).filter(([, { isShare }]) => isShare);
  const series = shares.flatMap(([name, { label }]) => {
    const points = groups.flatMap((group): Point[] => {
      const value = measured(group, name);
      return value === undefined ? [] : [[group.step, value]];
    });
    return points.length > 1 ? [{ name: label, points, dots: true }] : [];
  });
  if (series.length === 0) return undefined;
  return plot({
    id: "plot-precision",
    title: "Precision and recall against training",
    caption:
      "Precision: share of samples that lie near the data, by nearest neighbours among the features. Recall: share of the data that lies near samples.",
    charts: [
      {
        description: series
          .map(
            ({ name, points }) =>
              `${name} goes from ${formatScore(points[0]?.[1] ?? NaN)} to ${formatScore(points.at(-1)?.[1] ?? NaN)}`,
          )
          .join("; "),
        xLabel: "training step",
        yLabel: "share",
        scale: "linear",
        include: [0, 1],
        series,
      },
    ],
  });
}

function table(score: ScoreFacts): Html {
  const main = mainGroup(score.groups);
  const measures = Object.entries(score.measures);
  return html`<figure>
    ${scrolling(
      "Scores of all groups",
      html`<table>
        <caption>
          ${score.referenceImages ? `All against the same ${count(score.referenceImages, "image")} of the data.` : "All against the same data."}
        </caption>
        <thead>
          <tr>
            <th scope="col">Group</th>
            <th scope="col" class="number">Step</th>
            <th scope="col" class="number">${score.metric}</th>
            ${measures.map(([, { label }]) => html`<th scope="col" class="number">${label}</th>`)}
            <th scope="col" class="number">Samples</th>
          </tr>
        </thead>
        <tbody>
          ${score.groups.map(
            (group) =>
              html`<tr class="${group === main && "main"}">
                <th scope="row">${group.name}</th>
                ${cell(group.step, formatNumber)}${cell(group.distance, formatScore)}
                ${measures.map(([name]) => cell(measured(group, name), formatScore))}${cell(group.samples, formatNumber)}
              </tr>`,
          )}
          ${
            score.floor &&
            html`<tr>
              <th scope="row">held-out data</th>
              ${cell(undefined, formatNumber)}${cell(score.floor.distance, formatScore)}
              ${measures.map(([name]) => cell(measured(score.floor, name), formatScore))}${cell(score.floor.samples, formatNumber)}
            </tr>`
          }
          ${
            score.spread &&
            html`<tr>
              <th scope="row">${formatNumber(score.spread.sets)} sets of seeds</th>
              ${cell(undefined, formatNumber)}
              ${["distance", ...measures.map(([name]) => name)].map(
                (name) => html`<td class="number">${(score.spread && spreadOf(score.spread, name)) ?? "–"}</td>`,
              )}
              ${cell(score.spread.samples, formatNumber)}
            </tr>`
          }
        </tbody>
      </table>`,
    )}
    ${
      typeof score.mean === "number" &&
      html`<figcaption>
        Mean over the last ${score.last ? count(score.last, "checkpoint") : "checkpoints"}: ${score.metric}
        ${formatScore(score.mean)}.
      </figcaption>`
    }
  </figure>`;
}

const cell = (value: number | null | undefined, format: (value: number) => string): Html =>
  html`<td class="number">${typeof value === "number" ? format(value) : html`<span class="missing">–</span>`}</td>`;

/** The score against how often the network is evaluated, where the newest checkpoint was sampled at several steps. */
function evaluations(score: ScoreFacts): Html | undefined {
  const { nfe, metric, floor } = score;
  if (!nfe || nfe.length < 2) return undefined;
  const measures = Object.entries(score.measures);
  const points = nfe.flatMap(({ nfe: evaluations, distance }): Point[] =>
    typeof evaluations === "number" ? [[evaluations, distance]] : [],
  );
  const [first, last] = [points[0], points.at(-1)];
  const positive = points.every(([, y]) => y > 0) && (floor?.distance ?? 1) > 0;
  const spec = (scale: ChartSpec["scale"]): ChartSpec => ({
    description: `${metric} against network evaluations of an image; all values are in the table below`,
    xLabel: "network evaluations of an image",
    yLabel: metric,
    scale,
    xScale: "log",
    include: scale === "linear" ? [0] : [],
    series: [
      { name: metric, points, dots: true, label: formatScore },
      ...(floor && first && last
        ? [{ name: "floor", points: [first[0], last[0]].map((x): Point => [x, floor.distance]) }]
        : []),
    ],
  });
  return html`${points.length > 1 && plot({ id: "plot-nfe", title: `${metric} against network evaluations`, charts: positive ? [spec("linear"), spec("log")] : [spec("linear")] })}
  ${scrolling(
    "Scores against network evaluations",
    html`<table>
      <caption>
        The newest checkpoint, sampled from the same seeds at several numbers of steps.
      </caption>
      <thead>
        <tr>
          <th scope="col" class="number">Steps</th>
          <th scope="col" class="number">Network evaluations</th>
          <th scope="col" class="number">${metric}</th>
          ${measures.map(([, { label }]) => html`<th scope="col" class="number">${label}</th>`)}
          <th scope="col" class="number">Samples</th>
        </tr>
      </thead>
      <tbody>
        ${nfe.map(
          (one) =>
            html`<tr>
              ${cell(one.steps, formatNumber)}${cell(one.nfe, formatNumber)}${cell(one.distance, formatScore)}
              ${measures.map(([name]) => cell(measured(one, name), formatScore))}${cell(one.samples, formatNumber)}
            </tr>`,
        )}
      </tbody>
    </table>`,
  )}`;
}

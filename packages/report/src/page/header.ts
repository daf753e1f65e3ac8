import { count, formatDuration, formatNumber, formatScore } from "../html/format.js";
import { html, type Content, type Html } from "../html/html.js";
import { mainGroup, measured } from "../read/facts.js";
import type { Run } from "../run.js";
import { contents, keyFacts, type Section } from "./section.js";

/** Title, the run in one sentence, what does not fit, key numbers, and the way to the sections. */
export function header(run: Run, title: string, sections: readonly Section[]): Html {
  const { problems } = run.lineage;
  const numbers = keyNumbers(run);
  return html`<header>
    <p class="eyebrow">MADFormer run report</p>
    <h1>${title}</h1>
    <p class="lead">${summary(run)}</p>
    ${
      problems.length > 0 &&
      html`<div class="alarm" role="note">
        <strong>Not everything on this page belongs together.</strong>
        <ul>
          ${problems.map((problem) => html`<li>${problem}</li>`)}
        </ul>
      </div>`
    }
    ${keyFacts(numbers)} ${contents(sections)}
  </header>`;
}

/** The score, its name and its sample count; how the samples were drawn. As much as is known. */
export function summary(run: Run): Html {
  const { score, sampler } = run;
  const group = score && mainGroup(score.groups);
  const scored =
    score &&
    group &&
    html`<strong>${score.metric} ${formatScore(score.final ?? group.distance)}</strong>${
        group.samples ? ` over ${count(group.samples, "sample")}` : ""
      }${score.referenceImages ? ` against ${count(score.referenceImages, "image")} of the data` : ""}. `;
  return html`${scored}${sampledWith(run, sampler && mainGroup(sampler.groups)) ?? (!scored && made(run))}`;
}

function sampledWith(
  { sampler, exported }: Run,
  group: NonNullable<Run["sampler"]>["groups"][number] | undefined,
): string | undefined {
  if (!sampler) return undefined;
  const side = sampler.side ? `${sampler.side}-pixel samples` : "Samples";
  const steps = sampler.steps ? ` in ${count(sampler.steps, "step")}` : "";
  const nfe = sampler.nfe ? ` (NFE ${formatNumber(sampler.nfe)})` : "";
  const solver = sampler.solver ? ` with ${sampler.solver}` : "";
  const weights = group?.weights ? `${group.weights === "ema" ? "EMA" : group.weights} weights` : "weights";
  const step = group?.step ?? exported?.step;
  const after = step ? ` after ${count(step, "step")} of training` : "";
  return `${side} drawn${solver}${steps}${nfe} from ${weights}${after}.`;
}

/** What the page is about where nothing was sampled. */
function made({ artifacts }: Run): string {
  return `A run of ${count(artifacts.size, "stage")}, not scored yet.`;
}

function keyNumbers(run: Run): [string, Content][] {
  const { score, sampler, exported, data, artifacts } = run;
  const group = score && mainGroup(score.groups);
  const seconds = [...artifacts.values()].map(({ record }) => record?.seconds);
  const known = seconds.every((each) => each !== undefined);
  const numbers: [string, Content][] = [];
  const add = (name: string, value: string | false | null | undefined | 0): void => {
    if (value) numbers.push([name, value]);
  };
  if (score && group) add(score.metric, formatScore(score.final ?? group.distance));
  for (const [name, { label }] of Object.entries(score?.measures ?? {})) {
    const value = measured(group, name);
    add(label, value !== undefined && formatScore(value));
  }
  add("Samples scored", group?.samples && formatNumber(group.samples));
  add("Network evaluations", sampler?.nfe && formatNumber(sampler.nfe));
  add("Parameters", exported?.parameters && millions(exported.parameters));
  add("Images of the data", data?.images && formatNumber(data.images));
  add("Computing time", known && formatDuration(seconds.reduce((sum, each) => sum + each, 0)));
  return numbers;
}

function millions(n: number): string {
  return n >= 1e9 ? `${formatNumber(n / 1e9, 3)} B` : n >= 1e6 ? `${formatNumber(n / 1e6, 3)} M` : formatNumber(n);
}

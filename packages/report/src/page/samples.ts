import { count, formatNumber } from "../html/format.js";
import { html } from "../html/html.js";
import { mainGroup } from "../read/facts.js";
import type { Run } from "../run.js";
import { fitted, tile } from "./pictures.js";
import type { Section } from "./section.js";

/** The samples, by their seeds. */
export function samplesSection(run: Run): Section | undefined {
  const { samples } = run;
  if (samples.length === 0) return undefined;
  const all = mainGroup(run.sampler?.groups ?? [])?.images;
  const reduced = samples[0]?.picture.reduced ?? 1;
  return {
    id: "samples",
    title: "Samples",
    content: html`<p>
        ${all && all > samples.length ? `The first ${formatNumber(samples.length)} of ${count(all, "sample")}` : `All ${count(samples.length, "sample")}`},
        in the order of their seeds. None was chosen or left out.
      </p>
      <figure>
        <ul class="tiles">
          ${samples.map(({ seed, picture }) => html`<li>${tile(picture, `Sample of seed ${seed}`)}</li>`)}
        </ul>
        ${reduced > 1 && html`<figcaption>Shown at 1/${reduced} of their size.</figcaption>`}
      </figure>`,
  };
}

/** How an image comes into being. */
export function orderSection({ order }: Run): Section | undefined {
  if (!order) return undefined;
  return {
    id: "order",
    title: "Block by block",
    content: html`<p>
        An image is drawn in blocks, each denoised with those before it in view. From left to right, one more block is
        there.
      </p>
      <figure>
        ${fitted(order, "Images after their first block, their second, and so on, until they are complete")}
        ${order.reduced > 1 && html`<figcaption>Shown at 1/${order.reduced} of its size.</figcaption>`}
      </figure>`,
  };
}

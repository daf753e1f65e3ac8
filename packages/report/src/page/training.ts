import { count, formatNumber } from "../html/format.js";
import { html } from "../html/html.js";
import type { Run } from "../run.js";
import { lossPlots } from "./losses.js";
import { fitted, frame, tile } from "./pictures.js";
import { scrolling, type Section } from "./section.js";

/** Sample grids and curves of the training. */
export function trainingSection(run: Run, smoothing: number): Section | undefined {
  const { film } = run;
  const table = run.losses.get("train");
  if (!table && film.frames.length === 0) return undefined;
  return {
    id: "training",
    title: "Training",
    content: html`${
      film.frames.length > 0 &&
      html`<p>
          The same seeds during
          training${
            film.of > film.frames.length && `: ${film.frames.length} of ${count(film.of, "grid")}, evenly spread`
          }.
        </p>
        <figure>
          ${scrolling(
            "Sample grids during training",
            html`<ol class="strip">
              ${film.frames.map(
                ({ step, picture }) =>
                  html`<li>
                    ${frame(picture, `Samples at step ${formatNumber(step)}`)}
                    <span class="step number">Step ${formatNumber(step)}</span>
                  </li>`,
              )}
            </ol>`,
          )}
        </figure>`
    }
    ${table && lossPlots(table, "train", "training", smoothing)}`,
  };
}

/** Images of the data, and what is known of them. */
export function dataSection({ examples, data }: Run): Section | undefined {
  if (examples.length === 0) return undefined;
  const reduced = examples[0]?.picture.reduced ?? 1;
  const labels = examples.some(({ label }) => label !== null);
  return {
    id: "data",
    title: "Data",
    content: html`<p>
        ${
          data?.images
            ? `The first ${formatNumber(examples.length)} of ${count(data.images, "image")}`
            : `The first ${count(examples.length, "image")}`
        }${data?.side ? ` of ${data.side} × ${data.side} pixels` : ""},
        in their order${labels && " (hover for key and class)"}.
        ${data?.skipped ? `${count(data.skipped, "image")} could not be read and ${data.skipped === 1 ? "was" : "were"} skipped.` : ""}
      </p>
      <figure>
        <ul class="tiles">
          ${examples.map(
            ({ key, label, picture }) =>
              html`<li>${tile(picture, `Image ${key} of the data${label === null ? "" : `, class ${label}`}`)}</li>`,
          )}
        </ul>
        ${reduced > 1 && html`<figcaption>Shown at 1/${reduced} of their size.</figcaption>`}
      </figure>`,
  };
}

/** What the codec keeps of an image, and how it was trained. */
export function codecSection({ reconstructions, losses, latents, codec }: Run, smoothing: number): Section | undefined {
  const table = losses.get("vae");
  if (!table && !reconstructions) return undefined;
  const kind = typeof latents?.codec === "string" ? latents.codec : latents?.codec?.kind;
  const shape =
    latents?.side && latents.channels ? `${latents.side} × ${latents.side} × ${latents.channels}` : undefined;
  return {
    id: "codec",
    title: "Codec",
    content: html`<p>
        ${kind && html`The model sees images through <code>${kind}</code>. `}
        ${shape && `A latent is ${shape} numbers. `} No sample can be better than what the codec gives back of the data.
      </p>
      ${
        reconstructions &&
        html`<figure>
          ${fitted(reconstructions, "Images of the data beside what the codec gives back of them")}
          <figcaption>
            Images of the data, each beside what the codec gives back of it.
            ${typeof codec?.psnr === "number" && `Over the images shown, the peak signal-to-noise ratio is ${codec.psnr.toFixed(1)} dB.`}
            ${reconstructions.reduced > 1 && ` Shown at 1/${reconstructions.reduced} of their size.`}
          </figcaption>
        </figure>`
      }
      ${table && lossPlots(table, "vae", "the codec", smoothing)}`,
  };
}

/** How the network was trained whose features are compared. */
export function networkSection({ losses }: Run, smoothing: number): Section | undefined {
  const table = losses.get("net");
  if (!table) return undefined;
  return {
    id: "network",
    title: "Feature network",
    content: html`<p>
        The score compares features of a network that was trained on this data, on its attributes, without seeing a
        sample.
      </p>
      ${lossPlots(table, "net", "the feature network", smoothing)}`,
  };
}

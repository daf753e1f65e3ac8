import { html, type Content, type Html } from "../html/html.js";
import { chart, SERIES_COLORS, type ChartSize, type ChartSpec } from "./chart.js";

/** A chart as it stands in the page: under a title, with a legend, a caption, and a choice of scales. */
export interface PlotSpec {
  /** Unique in the page; letters, digits and dashes. */
  readonly id: string;
  readonly title: string;
  readonly caption?: Content;
  /** One to be seen, or two of which the reader chooses. The first is shown. */
  readonly charts: readonly ChartSpec[];
  /** Whether it has the page's whole width. */
  readonly wide?: boolean;
}

/** Drawn for a desk and for a phone: letters keep their size, lines their length. */
const SIZES: Readonly<Record<"whole" | "half" | "phone", ChartSize>> = {
  whole: { width: 1080, height: 380 },
  half: { width: 524, height: 300 },
  phone: { width: 340, height: 250 },
};

/** Works without a script: the choice of scales is two radio buttons and a rule of style. */
export function plot({ id, title, caption, charts, wide = false }: PlotSpec): Html {
  const names = charts[0]?.series.map((series) => series.name) ?? [];
  return html`<figure class="plot ${wide && "wide"}" id="${id}">
    <div class="plot-head">
      <h3>${title}</h3>
      ${
        charts.length > 1 &&
        html`<fieldset class="scales">
          <legend class="unseen">Vertical scale of ${title}</legend>
          ${charts.map(
            ({ scale }, i) =>
              html`<label
                ><input type="radio" name="${id}-scale" value="${scale}" ${i === 0 && html`checked`} /><span
                  >${scale}</span
                ></label
              >`,
          )}
        </fieldset>`
      }
    </div>
    ${
      names.length > 1 &&
      html`<ul class="legend">
        ${names.map(
          (name, i) =>
            html`<li>
              <svg viewBox="0 0 28 10" width="28" height="10" aria-hidden="true">
                <path class="curve s${i % SERIES_COLORS}" d="M1,5H27" /></svg
              >${name}
            </li>`,
        )}
      </ul>`
    }
    ${charts.map((spec) => {
      const scale = charts.length > 1 ? spec.scale : "";
      return html`${chart(spec, wide ? SIZES.whole : SIZES.half, `at-desk ${scale}`)}
      ${chart(spec, SIZES.phone, `on-phone ${scale}`)}`;
    })}
    ${caption !== undefined && html`<figcaption>${caption}</figcaption>`}
  </figure>`;
}

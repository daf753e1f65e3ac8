import { html, type Content, type Html } from "../html/html.js";
import { short } from "../lineage/lineage.js";

/** A part of the page. */
export interface Section {
  /** Its anchor. */
  readonly id: string;
  readonly title: string;
  readonly content: Html;
}

export function section({ id, title, content }: Section): Html {
  return html`<section id="${id}" aria-labelledby="${id}-title">
    <h2 id="${id}-title">${title}</h2>
    ${content}
  </section>`;
}

/** The way to all sections. */
export function contents(sections: readonly Section[]): Html {
  return html`<nav class="contents" aria-label="Contents">
    <ul>
      ${sections.map(({ id, title }) => html`<li><a href="#${id}">${title}</a></li>`)}
    </ul>
  </nav>`;
}

/** Key numbers, by their names; nothing if there are none. */
export function keyFacts(numbers: readonly (readonly [name: string, value: Content])[]): Content {
  return (
    numbers.length > 0 &&
    html`<dl class="facts">
      ${numbers.map(
        ([name, value]) =>
          html`<div>
            <dt>${name}</dt>
            <dd>${value}</dd>
          </div>`,
      )}
    </dl>`
  );
}

/** A digest, shortened; whole on hover, and copied by a click. */
export function digestCode(digest: string): Html {
  return html`<code class="digest" title="${digest}">${short(digest)}</code>`;
}

/** Something wider than a phone, which scrolls by itself. */
export function scrolling(label: string, content: Content): Html {
  return html`<div class="scroll" role="region" aria-label="${label}" tabindex="0">${content}</div>`;
}

/** A piece of markup whose holes were escaped. */
export class Html {
  constructor(readonly text: string) {}

  toString(): string {
    return this.text;
  }
}

/**
 * What may stand in a hole: markup as it is, text and numbers escaped, lists one after the other, nothing for nothing.
 */
export type Content = Html | string | number | false | null | undefined | readonly Content[];

/**
 * Markup from a template. All that is not itself `Html` is escaped, for text as for attributes in double quotes: no
 * other place (unquoted attributes, scripts, styles, URLs) may hold what comes from data.
 *
 * @example
 *     html`<p title="${key}">${key}</p>`
 */
export function html(strings: TemplateStringsArray, ...values: Content[]): Html {
  let text = strings[0] ?? "";
  values.forEach((value, i) => (text += textOf(value) + (strings[i + 1] ?? "")));
  return new Html(text);
}

/** Text as it must stand in HTML, between tags or in quotes. Characters that HTML cannot hold become U+FFFD. */
export function escapeHtml(text: string): string {
  return text.replace(UNPRINTABLE, "\uFFFD").replace(/[&<>"']/g, (c) => ENTITIES[c] ?? c);
}

/**
 * Control characters but tab and newline, halves of surrogate pairs, and what reverses the order of the text that
 * follows: a key must read as it is.
 */
// eslint-disable-next-line no-control-regex -- to be replaced
const UNPRINTABLE = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069\p{Surrogate}]/gu;

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

function textOf(value: Content): string {
  if (value instanceof Html) return value.text;
  if (Array.isArray(value)) return value.map(textOf).join("");
  if (value === undefined || value === null || value === false) return "";
  return escapeHtml(String(value));
}

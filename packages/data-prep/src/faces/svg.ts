/** Text of SVG: numbers get two decimals at most, lists are put one after another. */
export function svg(
  strings: TemplateStringsArray,
  ...values: readonly (number | string | readonly string[])[]
): string {
  return strings.reduce((text, part, i) => text + shown(values[i - 1]!) + part);
}

function shown(value: number | string | readonly string[]): string {
  if (typeof value === "number") return String(Math.round(value * 100) / 100 + 0); // + 0: no "-0"
  return typeof value === "string" ? value : value.join("");
}

/** A line: a name, indented by two spaces per level, then cells in columns or free text. */
export type Row =
  | { readonly depth: number; readonly name: string; readonly cells: readonly string[] }
  | { readonly depth: number; readonly name: string; readonly text: string };

const NUMBER = /^-?[\d,.]+(e[+-]?\d+)?$/;

/** Lines with aligned columns, two spaces between them: numbers to the right, all else to the left. */
export function formatTable(rows: readonly Row[]): string {
  const safe = rows.map((row) => ({ label: `${"  ".repeat(row.depth)}${printable(row.name)}`, row }));
  const nameWidth = safe.reduce((width, { label }) => Math.max(width, label.length), 0);
  const widths: number[] = [];
  const numeric: boolean[] = [];
  for (const { row } of safe) {
    if (!("cells" in row)) continue;
    for (const [column, cell] of row.cells.entries()) {
      widths[column] = Math.max(widths[column] ?? 0, cell.length);
      numeric[column] ||= NUMBER.test(cell);
    }
  }
  return safe
    .map(({ label, row }) => {
      const rest =
        "text" in row
          ? printable(row.text)
          : row.cells
              .map((cell, i) => (numeric[i] ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0)))
              .join("  ");
      return `${`${label.padEnd(nameWidth)}  ${rest}`.trimEnd()}\n`;
    })
    .join("");
}

/** Control and format characters, and those that turn the direction of writing. */
const STEERING = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;

/** Text for a terminal: characters that would steer it are shown as escapes. */
export function printable(text: string): string {
  return text.replace(STEERING, (character) => `\\u${(character.codePointAt(0) ?? 0).toString(16).padStart(4, "0")}`);
}

import { textOf } from "../plain/sweep-file.mjs";
import type { Spread } from "./spread.js";
import type { Cell, Table } from "./table.js";

/** The forms in which a table can be had. */
export const FORMATS = ["markdown", "csv", "latex", "json"] as const;
export type Format = (typeof FORMATS)[number];

export const EXTENSIONS: Readonly<Record<Format, string>> = { markdown: "md", csv: "csv", latex: "tex", json: "json" };

export function formatTable(table: Table, format: Format): string {
  switch (format) {
    case "markdown":
      return markdown(table);
    case "csv":
      return csv(table);
    case "latex":
      return latex(table);
    case "json":
      return `${JSON.stringify(table, null, 2)}\n`;
    default:
      return format satisfies never;
  }
}

/** A number with so many decimals that a column of them lines up: three below 10, two below 100, one above. */
export function decimals(mean: number): number {
  const size = Math.abs(mean);
  return size < 10 ? 3 : size < 100 ? 2 : size < 10_000 ? 1 : 0;
}

/** `12.34 ± 0.56`; the second in the decimals of the first. */
export function spreadText({ mean, deviation }: Spread, plusMinus = "±"): string {
  const digits = decimals(mean);
  const spread = deviation === undefined ? "" : ` ${plusMinus} ${deviation.toFixed(digits)}`;
  return `${mean.toFixed(digits)}${spread}`;
}

/** What is said of a cell besides its numbers: that seeds of it are missing. */
export function noteOf({ spread, seeds }: Cell): string {
  const there = spread?.values.length ?? 0;
  return there === seeds ? "" : there === 0 ? "not run" : `${there} of ${seeds} seeds`;
}

function markdown({ sweep, value, rows, columns, cells, best }: Table): string {
  const bold = (cell: Cell | undefined): string => {
    if (cell === undefined) return "";
    const text = cell.spread ? (cell.best ? `**${spreadText(cell.spread)}**` : spreadText(cell.spread)) : "";
    return [text, noteOf(cell) && `(${noteOf(cell)})`].filter(Boolean).join(" ");
  };
  const lines = [
    `| ${["", ...columns.map(({ label }) => inMarkdown(label))].join(" | ")} |`,
    `| ${["---", ...columns.map(() => "---:")].join(" | ")} |`,
    ...rows.map(({ label }, i) => `| ${[inMarkdown(label), ...(cells[i] ?? []).map(bold)].join(" | ")} |`),
  ];
  const seeds = Math.max(...cells.flat().map((cell) => cell?.seeds ?? 0));
  const spread = seeds > 1 ? `, mean ± standard deviation over ${seeds} seeds` : "";
  return [
    ...lines,
    "",
    `${inMarkdown(value)} of the sweep ${inMarkdown(sweep)}${spread}; ${best} is better, the best in bold.`,
    "",
  ].join("\n");
}

/** A row for each setting, for programs. */
function csv({ rows, columns, cells, value }: Table): string {
  const places = [...Object.keys(rows[0]?.values ?? {}), ...Object.keys(columns[0]?.values ?? {})];
  const head = [...places, `${value} mean`, "deviation", "seeds", "best"];
  const lines = rows.flatMap((row, i) =>
    columns.flatMap((column, j) => {
      const cell = cells[i]?.[j];
      if (cell === undefined) return [];
      const values = { ...row.values, ...column.values };
      const { mean = "", deviation = "", values: of = [] } = cell.spread ?? {};
      return [[...places.map((place) => textOf(values[place] ?? null)), mean, deviation, of.length, cell.best]];
    }),
  );
  return [head, ...lines].map((line) => `${line.map((word) => inCsv(String(word))).join(",")}\r\n`).join("");
}

function latex({ rows, columns, cells, value }: Table): string {
  const cellText = (cell: Cell | undefined): string => {
    if (cell?.spread === undefined) return "--";
    const { mean, deviation } = cell.spread;
    const digits = decimals(mean);
    const number = mean.toFixed(digits);
    const spread = deviation === undefined ? "" : ` $\\pm$ ${deviation.toFixed(digits)}`;
    return `${cell.best ? `\\textbf{${number}}` : number}${spread}`;
  };
  return [
    `% ${value.replace(/[\r\n]/g, " ")}`,
    `\\begin{tabular}{l${"r".repeat(columns.length)}}`,
    "\\toprule",
    `${["", ...columns.map(({ label }) => inLatex(label))].join(" & ")} \\\\`,
    "\\midrule",
    ...rows.map(({ label }, i) => `${[inLatex(label), ...(cells[i] ?? []).map(cellText)].join(" & ")} \\\\`),
    "\\bottomrule",
    "\\end{tabular}",
    "",
  ].join("\n");
}

/** Text that is no markup, whatever it holds. */
function inMarkdown(text: string): string {
  const plain = text.replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, " ");
  return plain.replace(/[\\`*_{}[\]<>|~&@]/g, "\\$&");
}

/** A field of CSV (RFC 4180); what a spreadsheet would take for a formula is text. */
function inCsv(text: string): string {
  const isFormula = /^[=+\-@\t\r]/.test(text) && !Number.isFinite(Number(text));
  const plain = isFormula ? `'${text}` : text;
  return /[",\r\n]/.test(plain) ? `"${plain.replaceAll('"', '""')}"` : plain;
}

const LATEX: Readonly<Record<string, string>> = {
  "\\": "\\textbackslash{}",
  "~": "\\textasciitilde{}",
  "^": "\\textasciicircum{}",
};

function inLatex(text: string): string {
  const plain = text.replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, " ");
  return plain.replace(/[\\~^&%$#_{}]/g, (c) => LATEX[c] ?? `\\${c}`);
}

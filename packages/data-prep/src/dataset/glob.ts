/** Alternatives that braces may unfold to. */
const MAX_ALTERNATIVES = 100_000;

/**
 * A pattern for whole relative paths with forward slashes: `*` and `?` stand for characters of one part, `**` for any
 * parts, `{a,b}` for alternatives, `{000..123}` for numbers (with leading zeros if the first has them).
 *
 * @throws {RangeError} If braces unfold to more than 100,000 alternatives.
 */
export function globPattern(glob: string): RegExp {
  const source = glob.replace(/\*\*\/|\*\*|\*|\?|\{([^{}]*)\}|[^*?{]+|\{/g, (part, choices?: string) => {
    if (part === "**/") return "(?:.*/)?";
    if (part === "**") return ".*";
    if (part === "*") return "[^/]*";
    if (part === "?") return "[^/]";
    if (choices !== undefined) return `(?:${alternatives(choices, glob).map(escape).join("|")})`;
    return escape(part);
  });
  return new RegExp(`^${source}$`, "su");
}

/** Whether a path says more than one name. */
export const isGlob = (path: string): boolean => /[*?{]/.test(path);

/** The folder above a glob's first part that is a pattern, and the rest. */
export function splitGlob(glob: string): { readonly folder: string; readonly pattern: string } {
  const parts = glob.split("/");
  const first = parts.findIndex(isGlob);
  const folder = parts.slice(0, first).join("/");
  return { folder: folder === "" ? (glob.startsWith("/") ? "/" : ".") : folder, pattern: parts.slice(first).join("/") };
}

function alternatives(choices: string, glob: string): string[] {
  const range = /^(\d{1,9})\.\.(\d{1,9})$/.exec(choices);
  if (!range) return choices.split(",");
  const [from, to] = [Number(range[1]), Number(range[2])];
  const width = range[1]!.startsWith("0") ? range[1]!.length : 0;
  if (to - from >= MAX_ALTERNATIVES)
    throw new RangeError(
      `Cannot use pattern ${JSON.stringify(glob)}: {${choices}} are more than ${MAX_ALTERNATIVES} names`,
    );
  return Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => String(from + i).padStart(width, "0"));
}

const escape = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");

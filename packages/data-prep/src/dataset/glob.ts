/** Alternatives that braces may unfold to. */
const MAX_ALTERNATIVES = 100_000;

/**
 * A pattern for whole relative paths with forward slashes: `*` and `?` stand for characters of one part, `**` for any
 * parts, `{a,b}` for alternatives, `{000..123}` and `{0..100..10}` for numbers (with leading zeros if one has them), as
 * in bash.
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

/**
 * The first of the names that a pattern asks for one by one and none of these paths has: each number of a range, as in
 * `{00000..00069}`, and, in a pattern without `*` and `?`, each alternative. The others only allow names.
 *
 * @returns As a name, or as a pattern if the rest is one; undefined if there are all.
 * @throws {RangeError} As `globPattern`.
 */
export function missingFrom(paths: readonly string[], glob: string): string | undefined {
  const found = new Set(paths);
  return eachName(glob).find((name) => {
    if (!isGlob(name)) return !found.has(name);
    const fits = globPattern(name);
    return !paths.some((path) => fits.test(path));
  });
}

function eachName(glob: string): string[] {
  const braces = /[*?]/.test(glob) ? /\{(\d{1,9}\.\.[^{}]*)\}/ : /\{([^{}]*)\}/;
  let names = [glob];
  for (let match = braces.exec(glob); match; match = braces.exec(names[0]!)) {
    const [, choices] = match;
    const each = alternatives(choices!, glob);
    if (names.length * each.length > MAX_ALTERNATIVES) throw tooMany(glob);
    names = names.flatMap((name) => each.map((choice) => name.replace(braces, () => choice)));
  }
  return names;
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
  const range = /^(\d{1,9})\.\.(\d{1,9})(?:\.\.-?(\d{1,9}))?$/.exec(choices);
  if (!range) return choices.split(",");
  const [from, to, step] = [Number(range[1]), Number(range[2]), Math.max(1, Number(range[3] ?? 1))];
  const hasZeros = [range[1]!, range[2]!].some((digits) => /^0\d/.test(digits));
  const width = hasZeros ? Math.max(range[1]!.length, range[2]!.length) : 0;
  const count = Math.floor(Math.abs(to - from) / step) + 1;
  if (count > MAX_ALTERNATIVES) throw tooMany(glob);
  const sign = to < from ? -1 : 1;
  return Array.from({ length: count }, (_, i) => String(from + sign * step * i).padStart(width, "0"));
}

const tooMany = (glob: string): RangeError =>
  new RangeError(`Cannot use pattern ${JSON.stringify(glob)}: its braces are more than ${MAX_ALTERNATIVES} names`);

const escape = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");

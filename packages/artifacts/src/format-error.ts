/**
 * A file is not what its format says: cut short, damaged, hostile, or of a kind that is not supported.
 *
 * A `SyntaxError`, because a file is text that did not parse. Trouble with the disk itself (no such file, no
 * permission) is not a `FormatError`.
 */
export class FormatError extends SyntaxError {
  override readonly name = "FormatError";

  /**
   * @param path The file.
   * @param problem What was found and what was expected; the message is `Cannot read "path": problem`.
   */
  constructor(
    readonly path: string,
    problem: string,
    options?: ErrorOptions,
  ) {
    super(`Cannot read ${JSON.stringify(path)}: ${problem}`, options);
  }
}

/** A name from a file as a message shows it: quoted, escaped, and no longer than a line. */
export function quote(name: string): string {
  return JSON.stringify(name.length > 200 ? `${name.slice(0, 200)}...` : name);
}

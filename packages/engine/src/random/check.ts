/** A value as an error message shows it: strings in quotes. */
export function shown(value: unknown): string {
  return typeof value === "string" ? JSON.stringify(value) : String(value);
}

/**
 * Checks that a value is an integer in [low, high].
 *
 * @param task What cannot be done without it: "make a random key".
 * @param name What the value is called: "seed".
 * @throws {RangeError} If it is anything else, NaN and other types included.
 */
export function checkInteger(task: string, name: string, value: unknown, low: number, high: number): void {
  if (Number.isSafeInteger(value) && (value as number) >= low && (value as number) <= high) return;
  throw new RangeError(`Cannot ${task}: ${name} is ${shown(value)}, expected an integer in [${low}, ${high}]`);
}

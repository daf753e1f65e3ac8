/** Seeds that one run may be asked for: their images are files in one folder. */
const MAX_SEEDS = 1_000_000;

/**
 * Seeds from a text such as `0-63,100`.
 *
 * @returns In the order of the text, each once.
 * @throws {RangeError} If the text is no list of numbers and ranges, or names more than a million.
 */
export function parseSeeds(text: string): number[] {
  const seeds = new Set<number>();
  for (const part of text.split(",")) {
    const match = /^\s*(\d{1,15})(?:\s*-\s*(\d{1,15}))?\s*$/.exec(part);
    const [first, last] = [Number(match?.[1]), Number(match?.[2] ?? match?.[1])];
    if (match === null || last < first)
      throw new RangeError(
        `Cannot read seeds ${JSON.stringify(text)}: ${JSON.stringify(part)} is no seed and no range, expected such as 0-63,100`,
      );
    if (last - first >= MAX_SEEDS || seeds.size > MAX_SEEDS)
      throw new RangeError(`Cannot sample seeds ${JSON.stringify(text)}: more than ${MAX_SEEDS}`);
    for (let seed = first; seed <= last; seed++) seeds.add(seed);
  }
  return [...seeds];
}

/**
 * The word that was probably meant, by the letters that would have to change, go, come or change places.
 *
 * @returns Undefined if none is near: within 2 letters, and a third of them.
 */
export function nearest(word: string, words: readonly string[]): string | undefined {
  let [best, least]: [string | undefined, number] = [undefined, Math.min(2.5, word.length / 3 + 0.5)];
  for (const other of words) {
    const found = distance(word.toLowerCase(), other.toLowerCase());
    if (found < least) [best, least] = [other, found];
  }
  return best;
}

/** Optimal string alignment distance. */
function distance(a: string, b: string): number {
  if (Math.abs(a.length - b.length) > 2 || a.length > 100) return Infinity;
  let [before, last]: [number[], number[]] = [[], Array.from({ length: b.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      let least = Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + same);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) least = Math.min(least, before[j - 2]! + 1);
      row.push(least);
    }
    [before, last] = [last, row];
  }
  return last[b.length]!;
}

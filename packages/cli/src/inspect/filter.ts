/**
 * A test of names. With `*` (any text) or `?` (any character) the whole name must match, without them it must contain
 * the pattern.
 */
export function nameFilter(pattern: string): (name: string) => boolean {
  if (!/[*?]/.test(pattern)) return (name) => name.includes(pattern);
  return (name) => matches(pattern, name);
}

/** By remembering the last star and retrying from there: no pattern takes more than the product of both lengths. */
function matches(pattern: string, name: string): boolean {
  let [p, n, star, retry] = [0, 0, -1, 0];
  while (n < name.length) {
    if (pattern[p] === "*") [star, retry, p] = [p, n, p + 1];
    else if (pattern[p] === "?" || pattern[p] === name[n]) [p, n] = [p + 1, n + 1];
    else if (star >= 0) [p, n, retry] = [star + 1, retry + 1, retry + 1];
    else return false;
  }
  while (pattern[p] === "*") p++;
  return p === pattern.length;
}

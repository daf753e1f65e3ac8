/**
 * What the grammars of pipelines and sweeps share: reading a JSON file that may be anything, and saying what is in it.
 * Plain JavaScript without a dependency, because Nx reads both before anything is built.
 */
import { readFileSync, statSync } from "node:fs";

const MAX_BYTES = 2 ** 20;

/**
 * @param {string} file
 * @param {(problem: string, cause: unknown) => Error} fail Makes the error to throw: what cannot be read, and why.
 * @returns {unknown} What it holds.
 */
export function readJsonFile(file, fail) {
  /** @type {string} */
  let text;
  try {
    const { size } = statSync(file);
    if (size > MAX_BYTES) throw new RangeError(`it has ${size} bytes, expected ${MAX_BYTES} at most`);
    text = readFileSync(file, "utf8").replace(/^\uFEFF/, "");
  } catch (cause) {
    const { code, message } = /** @type {NodeJS.ErrnoException} */ (cause);
    throw fail(code === "ENOENT" ? "there is no such file" : message, cause);
  }
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw fail(`it is no JSON, ${/** @type {Error} */ (cause).message}`, cause);
  }
}

/** @param {unknown} value @returns {value is Record<string, unknown>} */
export function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** @param {unknown} value @param {number} depth @returns {boolean} */
export function isShallow(value, depth) {
  return (
    typeof value !== "object" ||
    value === null ||
    (depth > 0 && Object.values(value).every((item) => isShallow(item, depth - 1)))
  );
}

/** @param {unknown} a @param {unknown} b @returns {boolean} */
export function sameJson(a, b) {
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((item, i) => sameJson(item, b[i]));
  if (!isObject(a) || !isObject(b)) return a === b;
  const keys = Object.keys(a);
  return (
    keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && sameJson(a[key], b[key]))
  );
}

/** @param {unknown} value */
export function kindOf(value) {
  if (value === null) return "null";
  if (Array.isArray(value)) return "a list";
  return typeof value === "string"
    ? `the text ${shown(value)}`
    : `${typeof value === "object" ? "an object" : `the ${typeof value} ${String(value)}`}`;
}

/** @param {unknown} value A value as messages show it: no control characters, not too long. */
export function shown(value) {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 100 ? `${text.slice(0, 97)}...` : text;
}

/**
 * node tools/check-lockfile.mjs
 *
 * Says, offline, whether package-lock.json installs the same files on every machine and from every registry. npm writes
 * what its registry showed it: an optional platform package that was not there (yet) has no entry, and `npm ci` then
 * fails wherever it is there.
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/**
 * @typedef {object} Entry
 * @property {string} [version]
 * @property {string} [resolved]
 * @property {string} [integrity]
 * @property {boolean} [link]
 * @property {boolean} [inBundle]
 * @property {Record<string, string>} [optionalDependencies]
 *
 * @typedef {{ packages: Record<string, Entry> }} Lock
 */

const MODULES = "node_modules/";

/**
 * Everything that is wrong with a lock file, one sentence each.
 *
 * @param {Lock} lock
 * @returns {string[]}
 */
export function findProblems(lock) {
  const problems = [];
  for (const [at, entry] of Object.entries(lock.packages)) {
    for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
      if (!hasEntry(lock, at, name))
        problems.push(`"${name}" ${version}, an optional dependency of "${at}", has no entry`);
    }
    if (!at.includes(MODULES) || entry.link || entry.inBundle) continue; // a workspace, or inside another's archive

    const { version = "", integrity = "", resolved } = entry;
    if (!/^\d+\.\d+\.\d+(-[\w.-]+)?$/.test(version))
      problems.push(`"${at}" has version "${version}", expected an exact one`);
    if (!/^sha512-[A-Za-z0-9+/]{86}==$/.test(integrity))
      problems.push(`"${at}" has integrity "${integrity}", expected SHA-512`);
    if (resolved !== undefined) problems.push(`"${at}" names its source "${resolved}", expected none`);
  }
  return problems;
}

/**
 * Whether `name` means an entry for the package at `from`: in its own node_modules, or in those of a folder above.
 *
 * @param {Lock} lock
 * @param {string} from
 * @param {string} name
 * @returns {boolean}
 */
function hasEntry(lock, from, name) {
  if (from === "") return MODULES + name in lock.packages;
  return `${from}/${MODULES}${name}` in lock.packages || hasEntry(lock, from.replace(/\/?[^/]*$/, ""), name);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  /** @type {Lock} */
  const lock = JSON.parse(readFileSync(new URL("../package-lock.json", import.meta.url), "utf8"));
  const problems = findProblems(lock);
  for (const problem of problems) console.error(`package-lock.json: ${problem}`);
  if (problems.length) process.exit(1);
  console.log(`package-lock.json: ${Object.keys(lock.packages).length} entries, complete for every platform`);
}

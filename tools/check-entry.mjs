/**
 * node tools/check-entry.mjs packages/<name>
 *
 * Imports the built package in plain Node, by name, as a stranger would: its `exports`, and every import below it, must
 * work outside Jest and tsx, which forgive more (a deep import of a CommonJS package, a missing file extension).
 */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

const dir = path.resolve(process.argv[2] ?? ".");
const { name } = JSON.parse(readFileSync(path.join(dir, "package.json"), "utf8"));
const entry = createRequire(path.join(dir, "package.json")).resolve(name); // a package may name itself
await import(pathToFileURL(entry).href);
process.exit(0); // whatever the package started at import must not hold up the build

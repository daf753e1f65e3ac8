/**
 * node tools/pipelines/bundle.mjs <package folder>
 *
 * Bundles each stage of a package into one file, `<package folder>/bundle/<stage>.mjs`, which exports it; for
 * packages/stage, the runner. Bundles that are what the sources make stay.
 */
import path from "node:path";
import { fileURLToPath } from "node:url";
import { entriesOf, makeBundles } from "./bundles.mjs";
import { tellFailure } from "./failures.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));
const [packageDir] = process.argv.slice(2).map((dir) => path.relative(root, path.resolve(dir)).replaceAll("\\", "/"));
if (packageDir === undefined || Object.keys(entriesOf(root, packageDir)).length === 0) {
  console.error(`Cannot bundle ${packageDir ?? "nothing"}: it has no stages; usage: bundle.mjs <package folder>`);
  process.exit(2);
}
try {
  await makeBundles(root, packageDir);
} catch (error) {
  console.error(/** @type {Error} */ (error).message);
  tellFailure(`bundle of ${packageDir}`, 1);
  process.exitCode = 1;
}

/**
 * node tools/pipelines/bundle.mjs <package folder>
 *
 * Bundles each stage of a package into one file, `<package folder>/bundle/<stage>.mjs`, which exports it: code of this
 * workspace is inlined from its sources, npm's packages stay outside and are named with their versions in the first line. The
 * digest of that file is the digest of all code that the stage can run; comments, types and code that it cannot reach are not
 * in it. For packages/stage, it bundles the runner, which is part of no stage.
 */
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createRequire, isBuiltin } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { findStages } from "./stages.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));
const [packageDir] = process.argv.slice(2).map((dir) => path.relative(root, path.resolve(dir)).replaceAll("\\", "/"));
/** What is bundled: file name -> code. */
const entries =
  packageDir === "packages/stage"
    ? { runner: 'import { stageMain } from "@madformer/stage"; await stageMain(process.argv.slice(2));' }
    : Object.fromEntries(
        [...findStages(root).values()]
          .filter((stage) => stage.packageDir === packageDir)
          .map(({ name, entry }) => [name, `export { stage } from ${JSON.stringify(`./${entry}`)};`]),
      );
if (packageDir === undefined || Object.keys(entries).length === 0) {
  console.error(`Cannot bundle ${packageDir ?? "nothing"}: it has no stages; usage: bundle.mjs <package folder>`);
  process.exit(2);
}

// Another run may be reading these files now: they are replaced one by one, and never missing in between.
const folder = path.join(root, packageDir, "bundle");
mkdirSync(folder, { recursive: true });
for (const [name, contents] of Object.entries(entries)) await bundle(name, contents, packageDir);
for (const file of readdirSync(folder))
  if (!(file.replace(/\.mjs$/, "") in entries) && !file.endsWith(".tmp")) rmSync(path.join(folder, file));

/**
 * @param {string} name @param {string} contents @param {string} packageDir
 */
async function bundle(name, contents, packageDir) {
  /** @type {Set<string>} */
  const externals = new Set();
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: root },
    absWorkingDir: root,
    bundle: true,
    write: false,
    metafile: true,
    platform: "node",
    format: "esm",
    target: "node20",
    legalComments: "none",
    logLevel: "warning",
    outfile: `${name}.mjs`,
    plugins: [workspaceSources()],
  }).then((result) => {
    // What tree shaking left, not what was seen on the way.
    for (const output of Object.values(result.metafile.outputs)) {
      for (const { path: name, external } of output.imports)
        if (external && !isBuiltin(name)) externals.add(packageOf(name));
      for (const name of dependenciesOf(Object.keys(output.inputs)))
        if (result.outputFiles[0]?.text.includes(`"${name}"`)) externals.add(name); // a require() that esbuild cannot see
    }
    return result;
  });
  const named = [...externals].sort().map((name) => `${name}@${versionOf(name, packageDir)}`);
  const file = path.join(root, packageDir, "bundle", `${name}.mjs`);
  const temporary = `${file}.${process.pid}.tmp`;
  writeFileSync(temporary, `// externals: ${named.join(" ")}\n${outputFiles[0]?.text ?? ""}`);
  renameSync(temporary, file);
}

/**
 * Resolves `@madformer/<name>` to the package's sources, and leaves every other package outside.
 *
 * @returns {import("esbuild").Plugin}
 */
function workspaceSources() {
  return {
    name: "workspace-sources",
    setup(build) {
      build.onResolve({ filter: /^[^./]/ }, ({ path: name, kind }) => {
        if (kind === "entry-point") return undefined;
        const own = /^@madformer\/([a-z-]+)$/.exec(name)?.[1];
        if (own === undefined)
          return { path: name, external: true, ...(isBuiltin(name) ? { sideEffects: false } : {}) };
        return { path: path.join(root, "packages", own, "src/index.ts"), sideEffects: false };
      });
      build.onResolve({ filter: /^\./ }, ({ path: name, importer, resolveDir }) => {
        if (importer === "<stdin>" || !name.endsWith(".js")) return undefined;
        // Modules do nothing when they are loaded, so one whose exports nobody uses is left out.
        return { path: path.join(resolveDir, name.replace(/\.js$/, ".ts")), sideEffects: false };
      });
    },
  };
}

/**
 * npm dependencies of the workspace's packages that these files belong to.
 *
 * @param {readonly string[]} files From the root.
 * @returns {Set<string>}
 */
function dependenciesOf(files) {
  const packages = new Set(files.flatMap((file) => /^packages\/[^/]+/.exec(file)?.[0] ?? []));
  const names = [...packages].flatMap((dir) => {
    const { dependencies = {} } = JSON.parse(readFileSync(path.join(root, dir, "package.json"), "utf8"));
    return Object.keys(dependencies).filter((name) => !name.startsWith("@madformer/"));
  });
  return new Set(names);
}

/**
 * `@scope/name/deep` -> `@scope/name`
 *
 * @param {string} specifier
 */
function packageOf(specifier) {
  return specifier
    .split("/")
    .slice(0, specifier.startsWith("@") ? 2 : 1)
    .join("/");
}

/**
 * The version of a package that code in a folder would get.
 *
 * @param {string} name
 * @param {string} from
 */
function versionOf(name, from) {
  const folders = createRequire(path.join(root, from, "package.json")).resolve.paths(name) ?? [];
  for (const folder of folders) {
    try {
      return JSON.parse(readFileSync(path.join(folder, name, "package.json"), "utf8")).version;
    } catch {
      // not in this one
    }
  }
  throw new Error(`Cannot bundle ${from}: package ${name} is not installed`);
}

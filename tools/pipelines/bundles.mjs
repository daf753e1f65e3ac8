/**
 * The bundles of stages: made by esbuild from the workspace's sources, and made again when one of those has changed. Nx
 * does not cache them: what it brings back, nobody has looked at, and this code decides what a stage makes.
 */
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createRequire, isBuiltin } from "node:module";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { findStages } from "./stages.mjs";

/** The package whose bundle is the runner, which is part of no stage. */
export const RUNNER_PACKAGE = "packages/stage";
export const RUNNER = `${RUNNER_PACKAGE}/bundle/runner.mjs`;
/** What was bundled from what. */
const LIST = "bundles.json";
/** A source that changed so shortly before it was read may change again under the same time. */
const SETTLED_MS = 50;
/** How often sources may change while they are bundled. */
const ATTEMPTS = 3;

/**
 * @typedef {object} Source A file that decides what a bundle is.
 * @property {string} file From the root.
 * @property {string} seen Size and times: if they are the same, nothing has touched it. Empty: look at the bytes.
 * @property {string} sha256
 *
 * @typedef {object} List
 * @property {Record<string, string>} entries Name -> the code that was bundled.
 * @property {Record<string, string>} bundles Name -> SHA-256 of the bundle.
 * @property {Source[]} sources
 */

/**
 * What is bundled of a package: file name -> code. Nothing, if it has no stages.
 *
 * @param {string} root
 * @param {string} packageDir From the root, such as `packages/sample`.
 * @returns {Record<string, string>}
 */
export function entriesOf(root, packageDir) {
  if (packageDir === RUNNER_PACKAGE)
    return {
      runner: `export { pipelineStatus, digestOfBundle, readPipeline, recordChanges, readChecked, restorePipeline, stageMain, StageRemote, verify } from "@madformer/stage";
export { remotePlace, Store } from "@madformer/artifacts";`,
    };
  const stages = [...findStages(root).values()].filter((stage) => stage.packageDir === packageDir);
  return Object.fromEntries(
    stages.map(({ name, entry }) => [name, `export { stage } from ${JSON.stringify(`./${entry}`)};`]),
  );
}

/**
 * The digests of a package's bundles, by name, if they are what its sources make now. Sources that were not touched are
 * not read; bundles always are.
 *
 * @param {string} root
 * @param {string} packageDir
 * @returns {Map<string, string> | undefined}
 */
export function freshBundles(root, packageDir) {
  const folder = path.join(root, packageDir, "bundle");
  const list = readList(path.join(folder, LIST));
  if (list === undefined || JSON.stringify(list.entries) !== JSON.stringify(entriesOf(root, packageDir)))
    return undefined;
  const touched = list.sources.filter(({ file, seen }) => seen === "" || seen !== seenOf(path.join(root, file)));
  if (touched.some(({ file, sha256 }) => digestOf(path.join(root, file)) !== sha256)) return undefined;
  for (const [name, sha256] of Object.entries(list.bundles))
    if (digestOf(path.join(folder, `${name}.mjs`)) !== sha256) return undefined;
  return new Map(Object.entries(list.bundles));
}

/**
 * Makes a package's bundles, unless they are fresh: code of this workspace is inlined from its sources, npm's packages
 * stay outside and are named with their versions in the first line. The digest of a bundle is the digest of all code
 * that the stage can run; comments, types and code that it cannot reach are not in it.
 *
 * @param {string} root
 * @param {string} packageDir
 * @returns {Promise<Map<string, string>>} Their digests, by name.
 */
export async function makeBundles(root, packageDir) {
  const fresh = freshBundles(root, packageDir);
  if (fresh) return fresh;
  const folder = path.join(root, packageDir, "bundle");
  const entries = entriesOf(root, packageDir);
  if (statSync(folder, { throwIfNoEntry: false })?.isFile()) rmSync(folder);
  mkdirSync(folder, { recursive: true });
  for (let attempt = 1; ; attempt++) {
    const began = Date.now();
    /** @type {Set<string>} */
    const files = new Set(["package-lock.json", "tsconfig.options.json", "node_modules/esbuild/package.json"]);
    for (const name of readdirSync(path.join(root, "tools/pipelines"))) files.add(`tools/pipelines/${name}`);
    /** @type {Record<string, string>} */
    const bundles = {};
    for (const [name, contents] of Object.entries(entries)) {
      const { text, inputs } = await bundle(root, packageDir, name, contents);
      for (const input of inputs) files.add(input);
      write(path.join(folder, `${name}.mjs`), text);
      bundles[name] = sha256(text);
    }
    const sources = [...files].sort().flatMap((file) => sourceOf(root, file) ?? []);
    const changed = sources.some(({ file }) => lastChange(path.join(root, file)) >= began - SETTLED_MS);
    if (changed && attempt < ATTEMPTS) {
      await sleep(SETTLED_MS); // what was bundled may not be what is there
      continue;
    }
    const told = changed ? sources.map((source) => ({ ...source, seen: "", sha256: "" })) : sources;
    // Another run may be reading these files now: they are replaced one by one, and never missing in between.
    write(path.join(folder, LIST), JSON.stringify({ entries, bundles, sources: told }, null, 1));
    for (const file of readdirSync(folder))
      if (file !== LIST && !(file.replace(/\.mjs$/, "") in entries) && !file.endsWith(".tmp"))
        rmSync(path.join(folder, file));
    return new Map(Object.entries(bundles));
  }
}

/**
 * @param {string} root @param {string} packageDir @param {string} name @param {string} contents
 * @returns {Promise<{ text: string, inputs: string[] }>} The bundle, and the files that it was made from, from the
 *   root.
 */
async function bundle(root, packageDir, name, contents) {
  const { build } = await import("esbuild"); // 50 ms that fresh bundles need not wait
  /** @type {Set<string>} */
  const externals = new Set();
  const { metafile, outputFiles } = await build({
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
    plugins: [workspaceSources(root)],
  });
  const text = outputFiles[0]?.text ?? "";
  // What tree shaking left, not what was seen on the way.
  for (const output of Object.values(metafile.outputs)) {
    for (const { path: name, external } of output.imports)
      if (external && !isBuiltin(name)) externals.add(packageOf(name));
    for (const name of dependenciesOf(root, Object.keys(output.inputs)))
      if (text.includes(`"${name}"`)) externals.add(name); // a require() that esbuild cannot see
  }
  const manifests = [...externals].sort().map((name) => manifestOf(root, name, packageDir));
  const named = manifests.map(({ name, version }) => `${name}@${version}`);
  const inputs = Object.keys(metafile.inputs).filter((input) => input !== "<stdin>");
  const configs = packagesOf(inputs).flatMap((dir) => [`${dir}/package.json`, `${dir}/tsconfig.json`]);
  return {
    text: `// externals: ${named.join(" ")}\n${text}`,
    inputs: [...inputs, ...configs, ...manifests.map(({ file }) => file)],
  };
}

/**
 * Resolves `@madformer/<name>` to the package's sources, and leaves every other package outside.
 *
 * @param {string} root
 * @returns {import("esbuild").Plugin}
 */
function workspaceSources(root) {
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

/** Folders of the workspace's packages that these files belong to. @param {readonly string[]} files From the root. */
function packagesOf(files) {
  return [...new Set(files.flatMap((file) => /^packages\/[^/]+/.exec(file)?.[0] ?? []))];
}

/**
 * npm dependencies of the workspace's packages that these files belong to.
 *
 * @param {string} root
 * @param {readonly string[]} files From the root.
 * @returns {Set<string>}
 */
function dependenciesOf(root, files) {
  const names = packagesOf(files).flatMap((dir) => {
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
 * The package that code in a folder would get.
 *
 * @param {string} root
 * @param {string} name
 * @param {string} from
 * @returns {{ name: string, version: string, file: string }} Its package.json, from the root.
 */
function manifestOf(root, name, from) {
  const folders = createRequire(path.join(root, from, "package.json")).resolve.paths(name) ?? [];
  for (const folder of folders) {
    const file = path.join(folder, name, "package.json");
    try {
      return { name, version: JSON.parse(readFileSync(file, "utf8")).version, file: path.relative(root, file) };
    } catch {
      // not in this one
    }
  }
  throw new Error(`Cannot bundle ${from}: package ${name} is not installed`);
}

/** @param {string} root @param {string} file @returns {Source | undefined} */
function sourceOf(root, file) {
  const digest = digestOf(path.join(root, file));
  return digest === undefined ? undefined : { file, seen: seenOf(path.join(root, file)), sha256: digest };
}

/** @param {string} file */
function seenOf(file) {
  const status = statSync(file, { throwIfNoEntry: false });
  return status ? `${status.size} ${status.mtimeMs} ${status.ctimeMs}` : "missing";
}

/** @param {string} file */
function lastChange(file) {
  const status = statSync(file, { throwIfNoEntry: false });
  return status ? Math.max(status.mtimeMs, status.ctimeMs) : Infinity;
}

/** @param {string} file */
function digestOf(file) {
  try {
    return sha256(readFileSync(file));
  } catch {
    return undefined;
  }
}

/** @param {string | Uint8Array} data */
function sha256(data) {
  return createHash("sha256").update(data).digest("hex");
}

/** @param {string} file @returns {List | undefined} Nothing, if it cannot be read. */
function readList(file) {
  try {
    const { entries, bundles, sources } = JSON.parse(readFileSync(file, "utf8"));
    return { entries: { ...entries }, bundles: { ...bundles }, sources: [...sources] };
  } catch {
    return undefined;
  }
}

/** @param {string} file @param {string} text */
function write(file, text) {
  const temporary = `${file}.${process.pid}.tmp`;
  writeFileSync(temporary, text);
  rmSync(file, { recursive: statSync(file, { throwIfNoEntry: false })?.isDirectory() ?? false, force: true });
  renameSync(temporary, file);
}

import { readFileSync } from "node:fs";
import { isBuiltin } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";

/**
 * What each package may import of the others: `pipelines -> stages -> model -> optim -> engine`, stages on `artifacts`,
 * `fid` apart from `model`. Stages do not import each other: they meet in artifacts. `cli` is the command over all of
 * them, and `golden` holds nothing but tests. `cache-server` runs before anything is built. A new package is written
 * here first.
 *
 * @type {Readonly<Record<string, readonly string[]>>}
 */
export const MAY_IMPORT = {
  engine: [],
  artifacts: [],
  optim: ["engine"],
  model: ["engine", "optim"],
  stage: ["artifacts"],
  "data-prep": ["model", "optim", "engine", "artifacts", "stage"],
  train: ["model", "optim", "engine", "artifacts", "stage"],
  sample: ["model", "engine", "artifacts", "stage"],
  fid: ["optim", "engine", "artifacts", "stage"],
  report: ["artifacts", "stage"],
  sweep: ["artifacts", "stage"],
  cli: ["data-prep", "train", "sample", "fid", "report", "sweep", "stage", "model", "engine", "artifacts"],
  golden: ["fid", "model", "optim", "engine", "artifacts"],
  "cache-server": [],
  pipelines: ["data-prep", "train", "sample", "fid", "report", "stage", "artifacts"],
};

/** The engine's backends, each in a folder of its own. */
const BACKENDS = "packages/engine/src/backends/";

/**
 * Files of the engine that choose among backends, or write their files: all others know what every backend has in
 * common.
 */
const KNOW_BACKENDS = ["engines.ts", "passes/index.ts", "program-file.ts"].map((file) => `packages/engine/src/${file}`);

const SCOPE = "@madformer/";
const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/**
 * Rule `madformer/import-directions`. In a file of packages/<name> or pipelines/<name>:
 *
 * - another workspace package is imported by its name, no deeper, and only where `MAY_IMPORT` allows it;
 * - a relative import stays inside the package;
 * - a backend of the engine imports no other one, and the rest of the engine knows no backend, except where one is
 *   chosen;
 * - sources import neither tests nor benches of their package, nor the package by its own name;
 * - an imported package is declared in the package.json beside: sources may use its `dependencies`, tests and benches
 *   its `devDependencies` and the root's as well (npm's flat node_modules would hide that one is missing).
 *
 * Looks at every way to name a module with a string: import, export from, import(), `import("...")` types, require().
 *
 * @type {import("eslint").Rule.RuleModule}
 */
export const importDirections = {
  meta: {
    type: "problem",
    schema: [{ type: "object", properties: { root: { type: "string" } }, additionalProperties: false }],
    messages: {
      unlisted: 'Package "{{from}}" is not listed in MAY_IMPORT, tools/eslint/import-directions.mjs',
      direction: '"{{from}}" must not import "{{to}}"; it may import {{allowed}}',
      deep: 'Cannot import "{{specifier}}": a package has one public entry, "{{entry}}"',
      self: 'Sources import each other by relative paths, not as "{{specifier}}"',
      leaves: 'Relative import "{{specifier}}" leaves its package; import the other package by name',
      backend: 'Backend "{{backend}}" must not import backend "{{other}}"; what both need stands outside of backends/',
      neutral: 'Backend "{{other}}" is no business of this file; only {{allowed}} know backends',
      testCode: 'Sources must not import test code: "{{specifier}}"',
      undeclared: '"{{name}}" is not declared in {{manifest}}',
    },
  },
  create(context) {
    const root = context.options[0]?.root ?? ROOT;
    const [area, dir, ...rest] = path.relative(root, context.filename).split(path.sep);
    if ((area !== "packages" && area !== "pipelines") || dir === undefined || rest.length === 0) return {};

    const from = area === "packages" ? dir : "pipelines";
    const packageDir = path.join(root, area, dir);
    const inTests = isTestCode(rest.join("/"));
    /** @type {Set<string> | undefined} */
    let declared;

    /**
     * @param {string} target What is imported, relative to its package.
     * @param {(messageId: string, data: Record<string, string>) => void} report
     */
    function checkBackends(target, report) {
      const other = backendOf(`packages/${dir}/${target}`);
      const file = [area, dir, ...rest].join("/");
      const backend = backendOf(file);
      if (other === undefined || other === backend) return;
      if (backend !== undefined) report("backend", { backend, other });
      else if (!KNOW_BACKENDS.includes(file)) report("neutral", { other, allowed: KNOW_BACKENDS.join(", ") });
    }

    /**
     * @param {import("estree").Node} node
     * @param {unknown} specifier
     */
    function check(node, specifier) {
      if (typeof specifier !== "string") return; // computed at run time: out of reach here
      const report = (/** @type {string} */ messageId, /** @type {Record<string, string>} */ data = {}) =>
        context.report({ node, messageId, data: { from, specifier, ...data } });

      if (specifier.startsWith(".") || path.isAbsolute(specifier) || specifier.startsWith("file:")) {
        const target = path.relative(packageDir, path.resolve(path.dirname(context.filename), specifier));
        if (target.startsWith("..") || !specifier.startsWith(".")) report("leaves");
        else if (!inTests) checkBackends(target.split(path.sep).join("/"), report);
        if (!inTests && isTestCode(target.split(path.sep).join("/"))) report("testCode");
        return;
      }
      if (isBuiltin(specifier) || specifier.startsWith("#")) return;

      const name = packageName(specifier);
      if (name.startsWith(SCOPE)) {
        const to = name.slice(SCOPE.length);
        if (specifier !== name) return report("deep", { entry: name });
        if (to === from) return inTests ? undefined : report("self");
        const allowed = MAY_IMPORT[from] ?? [];
        if (!allowed.includes(to)) return report("direction", { to, allowed: allowed.join(", ") || "no package" });
      }
      if (area !== "packages") return; // a pipeline has no manifest of its own
      declared ??= declaredPackages(root, packageDir, inTests);
      if (!declared.has(name)) report("undeclared", { name, manifest: `packages/${dir}/package.json` });
    }

    return {
      Program(node) {
        if (!(from in MAY_IMPORT)) context.report({ node, messageId: "unlisted", data: { from } });
      },
      ImportDeclaration: (node) => check(node, node.source.value),
      ExportNamedDeclaration: (node) => check(node, node.source?.value),
      ExportAllDeclaration: (node) => check(node, node.source.value),
      ImportExpression: (node) => check(node, literal(node.source)),
      CallExpression(node) {
        if (node.callee.type === "Identifier" && node.callee.name === "require")
          check(node, literal(node.arguments[0]));
      },
      // TypeScript's own: `type T = import("x").T` and `import x = require("x")`.
      TSImportType: (/** @type {any} */ node) => check(node, literal(node.source)),
      TSExternalModuleReference: (/** @type {any} */ node) => check(node, literal(node.expression)),
    };
  },
};

/**
 * The backend that a file belongs to, if it belongs to one.
 *
 * @param {string} file Relative to the workspace, with forward slashes.
 */
function backendOf(file) {
  return file.startsWith(BACKENDS) ? file.slice(BACKENDS.length).split("/")[0] : undefined;
}

/** @param {string} file Relative to its package, with forward slashes. */
function isTestCode(file) {
  return /^(test|bench)(\/|$)/.test(file) || /\.test\.[jt]s$/.test(file);
}

/**
 * "@scope/name/deep.js" -> "@scope/name"
 *
 * @param {string} specifier
 */
function packageName(specifier) {
  return specifier
    .split("/")
    .slice(0, specifier.startsWith("@") ? 2 : 1)
    .join("/");
}

/**
 * The text of a string, or of a template without holes.
 *
 * @param {any} node
 */
function literal(node) {
  return node?.type === "TemplateLiteral" && node.quasis.length === 1 ? node.quasis[0].value.cooked : node?.value;
}

/**
 * @param {string} root
 * @param {string} packageDir
 * @param {boolean} inTests
 */
function declaredPackages(root, packageDir, inTests) {
  const own = readManifest(packageDir);
  const names = Object.keys({ ...own.dependencies, ...own.optionalDependencies, ...own.peerDependencies });
  const forTests = inTests ? Object.keys({ ...own.devDependencies, ...readManifest(root).devDependencies }) : [];
  return new Set([...names, ...forTests, own.name]);
}

/** @param {string} dir */
function readManifest(dir) {
  return JSON.parse(readFileSync(path.join(dir, "package.json"), "utf8"));
}

/**
 * node tools/gpu/pack.mjs [--node VERSION]
 *
 * Puts together what a machine with a GPU gets to run `check.sh`: `tools/gpu/bundle`, a folder that git ignores, with
 * Node's binary (compressed; Python unpacks it), koffi, one bundle of the steps, the golden set's files that they read,
 * and the scripts themselves. Nothing has to be fetched there.
 */
import { cpSync, existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { $ } from "zx";
import { installNode } from "../node-version.mjs";

const here = fileURLToPath(new URL(".", import.meta.url));
const root = path.join(here, "../..");
const target = path.join(here, "bundle");
/** What the folder may take: it travels to the machine, perhaps often. */
const MAX_BYTES = 64 << 20;
const SCRIPTS = ["check.sh", "check.mjs", "peer.py", "peer_speed.py"];
const GOLDEN = ["meta.json", "model.safetensors", "forward.safetensors", "grads.safetensors"];
const KOFFI = ["koffi", `@koromix/koffi-${process.platform}-${process.arch}`];
/** Parts of koffi that are there to build it. */
const UNUSED = ["koffi/doc", "koffi/vendor", "koffi/lib"];

const at = process.argv.indexOf("--node");
const version = at < 0 ? "24" : (process.argv[at + 1] ?? "");

rmSync(target, { recursive: true, force: true });
mkdirSync(path.join(target, "golden"), { recursive: true });
for (const name of SCRIPTS) cpSync(path.join(here, name), path.join(target, name));
for (const name of GOLDEN) cpSync(path.join(root, "packages/golden/data", name), path.join(target, "golden", name));
const modules = path.join(root, "node_modules");
for (const name of KOFFI)
  cpSync(path.join(modules, name), path.join(target, "node_modules", name), {
    recursive: true,
    filter: (file) => !UNUSED.some((part) => file === path.join(modules, part)),
  });
await bundle();
const node = path.join(target, "node");
cpSync(await installNode(version), node);
await $`strip ${node}`.nothrow().quiet(); // where there is no strip it is a little larger
await $({ env: { ...process.env, XZ_OPT: "-T0" } })`xz -3 --force ${node}`;

const size = sizeOf(target);
console.log(`${path.relative(process.cwd(), target)}: ${(size / 2 ** 20).toFixed(1)} MiB`);
if (size > MAX_BYTES) {
  console.error(`Cannot use it: expected at most ${MAX_BYTES >> 20} MiB`);
  process.exit(1);
}

/** The steps with all that they need, from the workspace's sources; koffi, which brings a library, stays outside. */
async function bundle() {
  await build({
    stdin: {
      contents: `
        import * as engine from "./packages/engine/bench/gpu/index.ts";
        import * as model from "./packages/model/bench/gpu.ts";
        import { golden } from "./packages/golden/bench/gpu.ts";
        import { runStep } from "./tools/gpu/step.mjs";
        await runStep({ engine, model, golden });`,
      resolveDir: root,
    },
    absWorkingDir: root,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20",
    logLevel: "warning",
    outfile: path.join(target, "steps.mjs"),
    external: ["koffi"],
    // Packages in CommonJS ask for modules of Node's with require().
    banner: { js: 'import { createRequire as r } from "node:module"; const require = r(import.meta.url);' },
    plugins: [
      {
        name: "workspace-sources",
        setup({ onResolve }) {
          onResolve({ filter: /^@madformer\// }, ({ path: name }) => {
            const own = name.slice("@madformer/".length);
            return { path: path.join(root, "packages", own, "src/index.ts"), sideEffects: false };
          });
          onResolve({ filter: /^\..*\.js$/ }, ({ path: name, resolveDir }) => {
            const source = path.join(resolveDir, name.replace(/\.js$/, ".ts"));
            return existsSync(source) ? { path: source } : undefined;
          });
        },
      },
    ],
  });
  writeFileSync(path.join(target, "package.json"), '{ "type": "module" }\n');
}

/** @param {string} folder @returns {number} Bytes of all files. */
function sizeOf(folder) {
  const entries = readdirSync(folder, { recursive: true, encoding: "utf8" });
  return entries
    .map((name) => statSync(path.join(folder, name)))
    .reduce((sum, it) => sum + (it.isFile() ? it.size : 0), 0);
}

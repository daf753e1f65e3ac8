/**
 * npm run sweep -- <name> [options]
 * npm run sweep -- plan|run|table|plot <name> [options]
 *
 * `madformer sweep`, built first if its sources have changed. Without Nx. In a sweep's Nx target the environment
 * names the sweep and the point (`MADFORMER_SWEEP`, `MADFORMER_POINT`): no word of a file becomes part of a command
 * line.
 */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const COMMANDS = ["plan", "run", "table", "plot"];
const root = fileURLToPath(new URL("../..", import.meta.url));
const { MADFORMER_SWEEP: sweep, MADFORMER_POINT: point } = process.env;
const given = process.argv.slice(2);
const words = given.length > 0 || sweep === undefined ? given : [sweep, ...(point ? ["--point", point] : [])];
const [first = "--help"] = words;
const args = COMMANDS.includes(first) || first.startsWith("-") ? words : ["run", ...words];

const built = spawnSync(
  process.execPath,
  ["node_modules/typescript/bin/tsc", "-b", "packages/cli/tsconfig.build.json"],
  {
    cwd: root,
    stdio: ["ignore", "inherit", "inherit"],
  },
);
if (built.status !== 0) {
  console.error("Cannot build the command madformer: see above");
  process.exit(1);
}
process.chdir(root);
process.argv = [process.execPath, "madformer", "sweep", ...(args.length === 0 ? ["--help"] : args)];
await import("../../packages/cli/bin/madformer.mjs");

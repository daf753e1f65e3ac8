/**
 * npm run bench -- pipeline [--rounds N]
 *
 * How long `npm run reproduce -- smoke` takes when there is nothing to do: until its first line, and in all; beside it
 * the same script without npm, and Node starting and doing nothing. By turns, so that a busy machine is busy for all of
 * them.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpus } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = fileURLToPath(new URL("../..", import.meta.url));
const { values } = parseArgs({ options: { rounds: { type: "string", default: "10" } } });
const rounds = Number(values.rounds);
if (!Number.isInteger(rounds) || rounds < 1) {
  console.error("Usage: npm run bench -- pipeline [--rounds N]");
  process.exit(2);
}

/** @type {Readonly<Record<string, readonly [command: string, ...args: string[]]>>} */
const COMMANDS = {
  "npm run reproduce -- smoke": ["npm", "run", "--silent", "reproduce", "--", "smoke"],
  "node tools/pipelines/reproduce.mjs smoke": [process.execPath, "tools/pipelines/reproduce.mjs", "smoke"],
  "node -e 0": [process.execPath, "-e", "0"],
};

console.error("First, everything is made that is not there yet");
await time(["npm", "run", "--silent", "reproduce", "--", "smoke"]);
/** @type {Record<string, { first: number, all: number }[]>} */
const times = Object.fromEntries(Object.keys(COMMANDS).map((name) => [name, []]));
for (let round = 0; round < rounds; round++)
  for (const [name, command] of Object.entries(COMMANDS)) times[name]?.push(await time(command));

console.log(
  `${cpus().length} cores, ${cpus()[0]?.model.trim()}, Node ${process.version}, ${rounds} rounds, milliseconds\n`,
);
console.log(
  "| command | first line, median | in all: minimum | median | maximum |\n| --- | ---: | ---: | ---: | ---: |",
);
for (const [name, found] of Object.entries(times)) {
  const all = found.map((one) => one.all).sort((a, b) => a - b);
  const first = found.map((one) => one.first).sort((a, b) => a - b);
  const shown = (/** @type {number | undefined} */ ms) =>
    ms === undefined || !Number.isFinite(ms) ? "" : ms.toFixed(0);
  console.log(
    `| \`${name}\` | ${shown(first[first.length >> 1])} | ${shown(all[0])} | ${shown(all[all.length >> 1])} | ${shown(all.at(-1))} |`,
  );
}

/** @param {readonly [command: string, ...args: string[]]} command */
async function time([command, ...args]) {
  const began = performance.now();
  const child = spawn(command, args, { cwd: root, stdio: ["ignore", "pipe", "inherit"] });
  let first = Infinity;
  let output = "";
  child.stdout.on("data", (data) => {
    first = Math.min(first, performance.now() - began);
    output += data;
  });
  const [code] = await once(child, "close");
  if (code !== 0) {
    console.error(`${command} ${args.join(" ")} ended with ${code}\n${output}`);
    process.exit(1);
  }
  return { first, all: performance.now() - began };
}

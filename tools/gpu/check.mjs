/** What `check.sh` runs, which says how: each step in a process of its own, one after another, within a time in all. */
import { spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

/**
 * @typedef {import("./step.mjs").Finding} Finding
 * @typedef {"passed" | "failed" | "stopped" | "left out"} Outcome
 * @typedef {{ name: string, outcome: Outcome, seconds: number, reason?: string, findings: Finding[] }} Result
 */

/**
 * The steps in their order, with the seconds that each may take. Together they may take longer than the whole: few need
 * all of theirs.
 *
 * @type {readonly (readonly [name: string, limit: number])[]}
 */
const STEPS = [
  ["versions", 30],
  ["product", 30],
  ["torch rates", 40],
  ["attention", 50],
  ["convolution", 40],
  ["donation", 20],
  ["reload", 20],
  ["golden", 90],
  ["train-1", 110],
  ["torch train-1", 40],
  ["train-4", 110],
  ["torch train-4", 40],
  ["sample-1", 70],
  ["torch sample-1", 40],
  ["torch compile-1", 70],
  ["torch compile-4", 70],
  ["sample-4", 70],
  ["torch sample-4", 40],
];
/** A step that would have less is left out. */
const LEAST_SECONDS = 5;
/** CPUs, on which tiny sizes are tried, compile so many times as long. */
const TINY_PATIENCE = 10;

const here = path.dirname(fileURLToPath(import.meta.url));
const { values: options } = parseArgs({
  options: {
    out: { type: "string", default: "gpu-check" },
    size: { type: "string", default: "full" },
    only: { type: "string" },
    minutes: { type: "string", default: "8" },
  },
});
const { size } = options;
const names = STEPS.map(([name]) => name);
const only = options.only?.split(",") ?? names;
const minutes = Number(options.minutes);
const unknown = only.filter((name) => !names.includes(name));
if ((size !== "full" && size !== "tiny") || !(minutes > 0) || unknown.length > 0) {
  const what = unknown.length > 0 ? `--only ${unknown.join(",")}` : `--size ${size} --minutes ${options.minutes}`;
  console.error(`Cannot check with ${what}: sizes are full and tiny, steps are ${names.join(", ")}`);
  process.exit(2);
}

const started = new Date();
const end = performance.now() + minutes * 60_000;
/** @type {Result[]} */
const results = [];
for (const [name, limit] of STEPS) {
  if (!only.includes(name)) continue;
  const left = Math.min(limit * (size === "tiny" ? TINY_PATIENCE : 1), (end - performance.now()) / 1e3);
  const result = left < LEAST_SECONDS ? leftOut(name) : await run(name, left);
  results.push(result);
  const { outcome, seconds, reason, findings } = result;
  console.log(`${name}: ${outcome}${reason === undefined ? "" : `: ${reason}`} (${seconds.toFixed(1)} s)`);
  for (const { what, value, unit = "", ok } of findings)
    console.log(`    ${what}: ${short(value)} ${unit}${ok === false ? "  FAILED" : ""}`);
  write(); // at once: whoever stops this has what there is
}
process.exit(results.every(({ outcome }) => outcome === "passed") ? 0 : 1);

/** @param {string} name @returns {Result} */
function leftOut(name) {
  return { name, outcome: "left out", seconds: 0, reason: `the ${minutes} minutes are over`, findings: [] };
}

/**
 * @param {string} name
 * @param {number} limit Seconds.
 * @returns {Promise<Result>}
 */
async function run(name, limit) {
  const beside = /^torch (.+)$/.exec(name)?.[1];
  const [program, ...words] =
    beside === undefined
      ? [process.execPath, "--no-warnings", path.join(here, "steps.mjs"), name, size]
      : [process.env["MADFORMER_PYTHON"] ?? "python3", path.join(here, "peer_speed.py"), beside, size];
  const start = performance.now();
  // A group of its own, to be stopped together.
  const child = spawn(program ?? "", words, { detached: true, stdio: ["ignore", "pipe", "pipe"] });
  const [out, err] = [collect(child.stdout), collect(child.stderr)];
  let stopped = false;
  const timer = setTimeout(() => {
    stopped = true;
    if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
  }, limit * 1e3);
  /** @type {number | string} */
  const code = await new Promise((resolve) => {
    child.on("error", ({ message }) => resolve(message));
    child.on("close", (code, signal) => resolve(code ?? signal ?? "unknown"));
  });
  clearTimeout(timer);
  const findings = findingsOf(out());
  const wrong = findings.flatMap(({ what, ok }) => (ok === false ? [what] : []));
  const said = err().trim().split("\n").at(-1) ?? "";
  const seconds = (performance.now() - start) / 1e3;
  if (code === 0) return { name, outcome: "passed", seconds, findings };
  if (stopped)
    return { name, outcome: "stopped", seconds, reason: `it took longer than ${limit.toFixed(0)} s`, findings };
  const reason = wrong.length > 0 ? wrong.join("; ") : said || `ended with ${code}`;
  return { name, outcome: "failed", seconds, reason, findings };
}

/** @param {import("node:stream").Readable} stream @returns {() => string} */
function collect(stream) {
  let text = "";
  stream.setEncoding("utf8").on("data", (/** @type {string} */ part) => (text = (text + part).slice(-1_000_000)));
  return () => text;
}

/** Lines that are JSON; libraries print others. @param {string} text @returns {Finding[]} */
function findingsOf(text) {
  return text.split("\n").flatMap((line) => {
    try {
      const found = JSON.parse(line);
      return typeof found?.what === "string" ? [found] : [];
    } catch {
      return [];
    }
  });
}

/** Writes what there is so far: for programs, and for people. */
function write() {
  mkdirSync(options.out, { recursive: true });
  const findings = results.flatMap(({ findings }) => findings);
  const named = (/** @type {string} */ what) => findings.find((finding) => finding.what === what)?.value;
  const card = String(named("card") ?? "unknown card");
  const [compared, day] = [comparisons(findings), started.toISOString().slice(0, 10)];
  const all = { card, started: started.toISOString(), size, minutes, steps: results, compared };
  writeFileSync(path.join(options.out, "check.json"), `${JSON.stringify(all, null, 2)}\n`);
  const rows = results.flatMap(({ name, outcome, reason, seconds, findings }) => [
    [name, `**${outcome}**${reason === undefined ? "" : `: ${reason}`}`, `${seconds.toFixed(1)} s`],
    ...findings.map(({ what, value, unit, ok }) => [
      "",
      what,
      `${short(value)}${unit === undefined ? "" : ` ${unit}`}${ok === false ? " **(fails)**" : ""}`,
    ]),
  ]);
  const ratios = Object.entries(compared).map(([what, ratio]) => ["compared", what, short(ratio)]);
  const table = [["step", "what", card], ["---", "---", "---"], ...ratios, ...rows];
  const lines = table.map((row) => `| ${row.map((cell) => cell.replace(/[\n|]+/g, " ")).join(" | ")} |`);
  writeFileSync(path.join(options.out, "check.md"), `# ${card}, ${day}, size ${size}\n\n${lines.join("\n")}\n`);
}

/**
 * What the issue of speed is about, as ratios: above one, the engine is the faster or the smaller one.
 *
 * @param {readonly Finding[]} findings
 * @returns {Record<string, number>}
 */
function comparisons(findings) {
  /** @param {string} what @param {string} [unit] */
  const of = (what, unit) => {
    const found = findings.find((it) => it.what === what && (unit === undefined || it.unit === unit))?.value;
    return typeof found === "number" ? found : NaN;
  };
  const rates = findings.filter(({ what, unit }) => / product bf16/.test(what) && unit === "TFLOP/s");
  const peak = Math.max(...rates.map(({ value }) => Number(value)));
  const pairs = [1, 4].flatMap((batch) => {
    const [ours, theirs] = [`xla training step, batch ${batch}`, `torch training step, batch ${batch}`];
    const sampling = findings.find(({ what }) => what.startsWith(`xla sampling, batch ${batch},`) && /steps$/.test(what));
    const sampled = sampling?.what.replace(/^xla/, "") ?? "";
    return [
      [`training step, batch ${batch}: torch eager / xla`, of(theirs, "ms") / of(ours, "ms")],
      [`training step, batch ${batch}: torch.compile / xla`, of(`${theirs}, compiled`, "ms") / of(ours, "ms")],
      [`training step, batch ${batch}: share of the bf16 rate of products`, of(ours, "TFLOP/s") / peak],
      [`training step, batch ${batch}: peak memory, torch / xla`, of(`${theirs}, peak memory`) / of(`${ours}, peak memory`)],
      [`sampling, batch ${batch}: torch bf16 with a cache / xla`, of(`torch${sampled}, bf16, cache`) / of(`xla${sampled}`)],
      [`sampling, batch ${batch}: torch float32 recomputing / xla`, of(`torch${sampled}, float32, recomputing`) / of(`xla${sampled}`)],
    ];
  }); // prettier-ignore
  return Object.fromEntries(pairs.filter(([, ratio]) => Number.isFinite(ratio)));
}

/** @param {number | string} value */
function short(value) {
  if (typeof value === "string" || Number.isInteger(value)) return String(value);
  return Math.abs(value) >= 1000 ? value.toFixed(0) : String(Number(value.toPrecision(3)));
}

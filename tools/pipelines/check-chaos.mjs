/**
 * npm run test:chaos [-- --trials N] [--seed S] [--minutes M]
 *
 * Runs the pipeline `smoke` in a copy of this workspace, then, again and again, kills runs at random moments and flips
 * bytes, cuts off, deletes, swaps and touches random files of the store, of `out/`, of unfinished work, of Nx's and of
 * the bundles. After each time the same command must give what an undisturbed run gave: every byte of `out/` but times,
 * a store that `verify --deep` finds clean, and no exit code 130 that nobody asked for. Exits with 1 at the first thing
 * that is not so, and says with which seed it comes back.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  appendFileSync,
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { copyWorkspace } from "./copy.mjs";

const { values } = parseArgs({
  options: {
    trials: { type: "string", default: "1000" },
    minutes: { type: "string", default: "5" },
    seed: { type: "string", default: String(Date.now() % 2 ** 31) },
  },
});
const [trials, minutes, seed] = [values.trials, values.minutes, values.seed].map(Number);
if (![trials, minutes, seed].every((value) => value !== undefined && Number.isFinite(value) && value >= 0)) {
  console.error("Usage: npm run test:chaos [-- --trials N] [--seed S] [--minutes M]");
  process.exit(2);
}

const root = fileURLToPath(new URL("../..", import.meta.url));
const copy = copyWorkspace(root);
const folder = path.join(copy, "pipelines/smoke");
const store = path.join(copy, ".madformer/store");
let state = Number(seed) >>> 0;
const began = Date.now();

/** The stage that reads other stages' records: its page tells of times. */
const REPORT = "report";
/** What a record tells of one run alone. */
const OF_ONE_RUN = ["startedAt", "finishedAt", "seconds", "attempts", "peakMemoryBytes", "logs", "digest", "inputs"];

/** @typedef {{ what: string, make: () => unknown }} Deed */

const first = await run();
if (first.code !== 0) fail("the first run", first);
const stages = readdirSync(path.join(folder, "out")).sort();
const expected = outputs();
console.log(`seed ${seed}: ${stages.length} stages, ${Object.keys(expected).length} files, in ${seconds()} s`);

let trial = 0;
let kills = 0;
for (; trial < Number(trials) && Date.now() - began < Number(minutes) * 60_000; trial++) {
  /** @type {string[]} */
  const told = [];
  try {
    if (chance(0.6)) told.push(forget()); // else there is nothing to do, and nothing to kill
    if (chance(0.5)) {
      const after = Math.round(200 + random() * (chance(0.5) ? 3000 : 14_000));
      const { code } = await run(after);
      if (code !== 0) kills++;
      told.push(`killed after ${after} ms (${code})`);
    }
    for (let i = 0; i < 1 + Math.floor(random() * 3); i++) {
      const { what, make } = deed();
      make();
      told.push(what);
    }
    const result = await run();
    // What was damaged under a stage while it read ends that run with a sentence; nothing here runs meanwhile.
    if (result.code !== 0) fail(told.join("; "), result);
    const found = outputs();
    for (const file of new Set([...Object.keys(expected), ...Object.keys(found)]))
      if (found[file] !== expected[file])
        fail(
          `${told.join("; ")}: ${file} is ${file in found ? "another one" : "not there"}`,
          result,
          found[file],
          expected[file],
        );
    // Damage to what no pipeline shows is mended only when something asks for it: here, and then nothing is
    // wrong.
    const findings = (await verifyAll()).filter(({ where, mended }) => where.startsWith("smoke/") || !mended);
    findings.push(...(await verifyAll()));
    if (findings.length > 0) fail(`${told.join("; ")}: verify finds ${JSON.stringify(findings)}`, result);
  } catch (error) {
    fail(`${told.join("; ")}: ${/** @type {Error} */ (error).stack}`);
  }
  console.log(`${String(trial + 1).padStart(4)}  ${seconds().padStart(5)} s  ${told.join("; ")}`);
}
console.log(
  `\n${trial} trials, ${kills} runs killed, in ${seconds()} s: every byte but times was as in an undisturbed run (seed ${seed})`,
);

/** A random number in [0, 1): mulberry32. */
function random() {
  state = (state + 0x6d2b79f5) >>> 0;
  let t = Math.imul(state ^ (state >>> 15), state | 1);
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
}
/** @param {number} p */
function chance(p) {
  return random() < p;
}
/** @template T @param {readonly T[]} list @returns {T} */
function pick(list) {
  return /** @type {T} */ (list[Math.floor(random() * list.length)]);
}

/** Makes stages run again: what is known of some is removed, from the store and from out. */
function forget() {
  const gone = stages.filter(() => chance(0.3));
  for (const stage of gone) {
    const record = path.join(folder, "out", stage, "record.json");
    if (!existsSync(record)) continue;
    try {
      rmSync(path.join(store, "keys", `${JSON.parse(readFileSync(record, "utf8")).key}.json`), { force: true });
    } catch {
      // it was damaged before
    }
    rmSync(path.join(folder, "out", stage), { recursive: true });
  }
  return `forgot ${gone.join(", ") || "nothing"}`;
}

/** @returns {Deed} Something bad. */
function deed() {
  const area = pick([
    ...["objects", "objects", "objects", "keys", "work"].map((name) => path.join(store, name)),
    ...["out", "out", "out"].map((name) => path.join(folder, name)),
    ...[".nx", "packages/sample/bundle", "packages/stage/bundle"].map((name) => path.join(copy, name)),
  ]);
  const files = filesBelow(area);
  const name = path.relative(copy, area);
  if (files.length === 0) return { what: `nothing in ${name}`, make: () => {} };
  const [file, other] = [pick(files), pick(files)];
  const shown = path.relative(copy, file);
  return pick([
    { what: `flip ${shown}`, make: () => edit(file, flip) },
    {
      what: `cut ${shown}`,
      make: () => void (writable(file), truncateSync(file, Math.floor(random() * lstatSync(file).size))),
    },
    { what: `empty ${shown}`, make: () => void (writable(file), truncateSync(file, 0)) },
    { what: `append to ${shown}`, make: () => void (writable(file), appendFileSync(file, "x")) },
    { what: `delete ${shown}`, make: () => rmSync(file) },
    { what: `touch ${shown}`, make: () => utimesSync(file, new Date(), new Date()) },
    {
      what: `make ${shown} a folder`,
      make: () => void (rmSync(file), mkdirSync(path.join(file, "x"), { recursive: true })),
    },
    {
      what: `swap ${shown} and ${path.relative(copy, other)}`,
      make: () => {
        if (file === other) return;
        renameSync(file, `${file}.swap`);
        renameSync(other, file);
        renameSync(`${file}.swap`, other);
      },
    },
    { what: `delete all of ${name}`, make: () => rmSync(area, { recursive: true }) },
    { what: `make ${name} a file`, make: () => void (rmSync(area, { recursive: true }), writeFileSync(area, "x")) },
  ]);
}

/** @param {string} file */
function writable(file) {
  chmodSync(file, 0o644);
}
/** @param {string} file @param {(bytes: Buffer) => void} change */
function edit(file, change) {
  const bytes = readFileSync(file);
  change(bytes);
  writable(file);
  writeFileSync(file, bytes);
}
/** @param {Buffer} bytes One of its bits changes. */
function flip(bytes) {
  if (bytes.length === 0) return;
  const at = Math.floor(random() * bytes.length);
  bytes[at] = (bytes[at] ?? 0) ^ (1 << Math.floor(random() * 8));
}

/** @param {string} dir @returns {string[]} */
function filesBelow(dir) {
  const status = lstatSync(dir, { throwIfNoEntry: false });
  if (!status?.isDirectory()) return status ? [dir] : [];
  return readdirSync(dir)
    .sort()
    .flatMap((name) => {
      const file = path.join(dir, name);
      const found = lstatSync(file, { throwIfNoEntry: false });
      return found?.isDirectory() ? filesBelow(file) : found?.isFile() ? [file] : [];
    });
}

/**
 * Runs the pipeline, with Nx and without by turns.
 *
 * @param {number} [killAfterMs] Kills it, and all that it started, with SIGKILL after so long.
 */
async function run(killAfterMs) {
  const args = ["--no-warnings", "tools/pipelines/reproduce.mjs", "smoke", ...(chance(0.5) ? ["--no-nx"] : [])];
  const child = spawn(process.execPath, args, {
    cwd: copy,
    detached: true, // a group of its own, to be killed together
    env: { ...process.env, NX_DAEMON: "false", MADFORMER_RUN_STARTED: "2000-01-01T00:00:00Z" },
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (/** @type {Buffer} */ data) => (output += data));
  const ended = once(child, "close");
  if (killAfterMs !== undefined) {
    await Promise.race([ended, sleep(killAfterMs, undefined, { ref: false })]);
    try {
      process.kill(-Number(child.pid), "SIGKILL");
    } catch {
      // it has ended
    }
  }
  const timer = sleep(180_000, "late", { ref: false });
  if ((await Promise.race([ended, timer])) === "late") {
    process.kill(-Number(child.pid), "SIGKILL");
    fail("a run has not ended after three minutes", { code: null, output });
  }
  return { code: child.exitCode, output };
}

/**
 * What `out/` shows: file -> its text, or the digest of its bytes, without what is of one run alone.
 *
 * @returns {Record<string, string>}
 */
function outputs() {
  /** @type {Record<string, string>} */
  const found = {};
  for (const file of filesBelow(path.join(folder, "out"))) {
    const name = path.relative(path.join(folder, "out"), file);
    const [stage = "", part = ""] = name.split(path.sep);
    if (part === "logs" || part === "checked.json") continue;
    const bytes = readFileSync(file);
    if (part === "record.json")
      found[name] = JSON.stringify({
        ...JSON.parse(bytes.toString()),
        ...Object.fromEntries(OF_ONE_RUN.map((key) => [key, ""])),
        ...(stage === REPORT ? { manifest: "" } : {}),
      });
    else if (stage !== REPORT) found[name] = bytes.toString("latin1");
    else found[name] = part === "manifest.json" ? "" : withoutTimes(bytes.toString());
  }
  return found;
}

/**
 * A page without what tells of times: numbers, digests of records, and how often a stage was interrupted. @param
 * {string} page
 */
function withoutTimes(page) {
  return page
    .replace(/\b[0-9a-f]{10,64}\b/g, "#")
    .replace(/\d+([.,:T-]\d+)*Z?/g, "0")
    .replace(/0 (s|min 0 s) of computing,\s+0 attempts, the first of them from 0 0 UTC on/g, "0 s");
}

/**
 * What `verify --deep` finds, as another process would.
 *
 * @returns {Promise<{ where: string, problem: string, mended?: string }[]>}
 */
async function verifyAll() {
  const runner = await import(`${pathToFileURL(path.join(copy, "packages/stage/bundle/runner.mjs")).href}?${trial}`);
  const pipelines = [runner.readPipeline(folder)];
  const options = { store: new runner.Store(store), pipelines, whole: true, deep: true, dryRun: false };
  return (await runner.verify(options)).findings;
}

function seconds() {
  return ((Date.now() - began) / 1000).toFixed(0);
}

/**
 * @param {string} what @param {{ code: number | null, output: string }} [result] @param {string} [found] @param
 *   {string} [wanted]
 * @returns {never}
 */
function fail(what, result, found, wanted) {
  console.error(`\nFAIL in trial ${trial + 1}, seed ${seed}: ${what}`);
  if (found !== undefined && wanted !== undefined) {
    const at = [...found].findIndex((letter, i) => letter !== wanted[i]);
    console.error(`found:    ${JSON.stringify(found.slice(Math.max(0, at - 80), at + 80))}`);
    console.error(`expected: ${JSON.stringify(wanted.slice(Math.max(0, at - 80), at + 80))}`);
  }
  if (result) console.error(`exit code ${result.code}\n${result.output.slice(-6000)}`);
  process.exit(1);
}

/** Processes that train are killed with SIGKILL, again and again; what they leave in the end is what one leaves in peace. */
import { spawn } from "node:child_process";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { contentOf, jsonLines, temporaryFolder, writeLatents } from "../src/testing.js";

interface Ended {
  readonly signal: NodeJS.Signals | null;
  readonly code: number | null;
  readonly lines: readonly string[];
  readonly errors: string;
  /** Until the first step, and from there on. */
  readonly startMs: number;
  readonly runMs: number;
}

type Kill =
  /** So long after it was started, or after its first step. */
  | { readonly kind: "timer"; readonly from: "start" | "first step"; readonly ms: number }
  /** By itself, in the middle of an operation on files. */
  | { readonly kind: "operation"; readonly number: number };

/** Trains until the end, or until it is killed. */
function trainChild(latents: string, out: string, kill?: Kill): Promise<Ended> {
  const script = fileURLToPath(new URL("kill-child.ts", import.meta.url));
  const operation = kill?.kind === "operation" ? [String(kill.number)] : [];
  const begun = performance.now();
  const child = spawn(process.execPath, ["--import", "tsx", script, latents, out, ...operation]);
  let [text, errors, firstStep] = ["", "", 0];
  const killAfter = (ms: number): void => void setTimeout(() => child.kill("SIGKILL"), ms);
  if (kill?.kind === "timer" && kill.from === "start") killAfter(kill.ms);
  child.stdout.on("data", (data: Buffer) => {
    text += data.toString();
    if (firstStep > 0) return;
    firstStep = performance.now();
    if (kill?.kind === "timer" && kill.from === "first step") killAfter(kill.ms);
  });
  child.stderr.on("data", (data: Buffer) => (errors += data.toString()));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => {
      const [startMs, runMs] = [firstStep - begun, performance.now() - firstStep];
      resolve({ code, signal, lines: text.split("\n").filter(Boolean), errors, startMs, runMs });
    });
  });
}

const between = (low: number, high: number): number => low + Math.random() * (high - low);
const KILLS = 10;

test(`a run that is killed ${KILLS} times leaves the same bytes as one that is not`, async () => {
  await using folder = await temporaryFolder("kill");
  const [latents, peace, war] = ["latents", "peace", "war"].map((name) => join(folder.path, name)) as [
    string,
    string,
    string,
  ];
  await writeLatents(latents);
  const whole = await trainChild(latents, peace);
  expect(whole).toMatchObject({ code: 0, errors: "" });
  const operations = Number(/^operations (\d+)$/.exec(whole.lines.at(-1) ?? "")?.[1]);
  expect(operations).toBeGreaterThan(200);

  // Half of the kills strike while a file is written or renamed, at a random one of the operations; the others at a random
  // time, which is mostly spent computing. Each comes within a sixth of the run after its start (two checkpoints), so that
  // all of them together reach over the whole run.
  const kills = Array.from({ length: KILLS }, (_, i): Kill => {
    if (i === 3) return { kind: "timer", from: "start", ms: between(0, whole.startMs) };
    if (i % 2 === 0) return { kind: "operation", number: Math.ceil(between(0, operations / 6)) };
    return { kind: "timer", from: "first step", ms: between(0, whole.runMs / 6) };
  });
  const went: string[] = [];
  for (const kill of kills) {
    const { signal, errors, lines } = await trainChild(latents, war, kill);
    const left = await readdir(join(war, "checkpoints")).catch(() => []);
    went.push(`${JSON.stringify(kill)}: from step ${lines[0]}, left ${left.join(", ")}`);
    expect({ signal, errors, went }).toEqual({ signal: "SIGKILL", errors: "", went });
  }
  const last = await trainChild(latents, war);
  expect({ code: last.code, errors: last.errors, went }).toEqual({ code: 0, errors: "", went });
  expect(Number(last.lines[0])).toBeGreaterThan(1); // it went on from a checkpoint

  const [expected, found] = [await contentOf(peace), await contentOf(war)];
  expect(Object.keys(expected).sort()).toEqual([
    ...["0000014", "0000044", "0000048"].flatMap((step) =>
      ["ema", "state", "weights"].map((part) => `checkpoints/step-${step}/${part}.safetensors`),
    ),
    ...["codec.json", "codec.safetensors", "config.json", "losses.jsonl"],
    ...["samples/step-0000024.png", "samples/step-0000048.png"],
  ]);
  expect({ files: found, went }).toEqual({ files: expected, went });
  // The log beside it has each step once, too.
  const steps = (await jsonLines<{ step: number }>(join(war, "logs", "log.jsonl"))).map(({ step }) => step);
  expect(steps).toEqual(Array.from({ length: 16 }, (_, i) => 3 * (i + 1)));
}, 600_000); // half a minute where the machine has nothing else to do

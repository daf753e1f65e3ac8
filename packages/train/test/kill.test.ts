/**
 * Processes that train are killed with SIGKILL, again and again; what they leave in the end is what one leaves in
 * peace.
 */
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
  readonly milliseconds: number;
}

type Kill =
  /** So long after it was started. */
  | { readonly kind: "start"; readonly ms: number }
  /** So long after a step. */
  | { readonly kind: "step"; readonly step: number; readonly ms: number }
  /** By itself, in the middle of an operation on files: so many after a step. */
  | { readonly kind: "operation"; readonly step: number; readonly number: number };

/** Trains until the end, or until it is killed. */
function trainChild(latents: string, out: string, kill?: Kill): Promise<Ended> {
  const script = fileURLToPath(new URL("kill-child.ts", import.meta.url));
  const operation = kill?.kind === "operation" ? [String(kill.step), String(kill.number)] : [];
  const begun = performance.now();
  const child = spawn(process.execPath, ["--import", "tsx", script, latents, out, ...operation]);
  let [text, errors] = ["", ""];
  let killing = false;
  const killAfter = (ms: number): void => {
    if (!killing) setTimeout(() => child.kill("SIGKILL"), ms);
    killing = true;
  };
  if (kill?.kind === "start") killAfter(kill.ms);
  child.stdout.on("data", (data: Buffer) => {
    text += data.toString();
    if (kill?.kind === "step" && Number(text.trimEnd().split("\n").at(-1)) >= kill.step) killAfter(kill.ms);
  });
  child.stderr.on("data", (data: Buffer) => (errors += data.toString()));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => {
      const lines = text.split("\n").filter(Boolean);
      resolve({ code, signal, lines, errors, milliseconds: performance.now() - begun });
    });
  });
}

const between = (low: number, high: number): number => low + Math.random() * (high - low);
const [KILLS, STEPS] = [10, 48];

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

  // One kill in each tenth of the run, at a random step. Half of them strike while a file is written or renamed, at a
  // random one of the operations of the next four steps, among which is a checkpoint; the others a random time after
  // the step.
  const kills = Array.from({ length: KILLS }, (_, i): Kill => {
    if (i === 3) return { kind: "start", ms: between(0, whole.milliseconds / 2) };
    const step = Math.max(1, Math.floor(((STEPS - 4) * between(i, i + 1)) / KILLS));
    if (i % 2 === 0) return { kind: "operation", step, number: Math.ceil(between(0, (4 * operations) / STEPS)) };
    return { kind: "step", step, ms: between(0, 50) };
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

/**
 * `npm run bench -- engine [--json] [--rounds N] [--case NAME] [--profile] [--busy]`
 *
 * Each case runs in a process of its own, so that its peak memory is its own, with the machine's matrix product rate
 * measured between its steps: both see the same noise.
 */
import { execFileSync } from "node:child_process";
import { rmSync, readFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { operationsOf, type Graph } from "../src/ir/graph.js";
import { summarize } from "../src/ir/print.js";
import { compile, type Program, type SessionOptions } from "../src/index.js";
import { benchBusy } from "./busy.js";
import { GemmRate, median, nodeBindingRate, time } from "./measure.js";
import { signatureOf, stepOf, transformer, uNet, type BenchModel } from "./models.js";
import { benchRandom } from "./random.js";

const { values: options } = parseArgs({
  options: {
    json: { type: "boolean", default: false },
    case: { type: "string" },
    rounds: { type: "string", default: "15" },
    threads: { type: "string", default: "2" },
    busy: { type: "boolean", default: false },
    profile: { type: "boolean", default: false },
    help: { type: "boolean", short: "h", default: false },
  },
});
const threads = Number(options.threads);
const rounds = Number(options.rounds);

/** Steps to train, and the fraction of the machine's product rate they should reach. */
const STEPS: Readonly<Record<string, { model: () => BenchModel; target: number }>> = {
  transformer: {
    model: () => transformer({ width: 256, depth: 4, heads: 8, mlp: 1024, blocks: 4, blockTokens: 64, batch: 4 }),
    target: 0.85,
  },
  unet: {
    model: () => uNet({ channels: [64, 128], side: 16, latentChannels: 4, heads: 8, groups: 8, batch: 32 }),
    target: 0.65,
  },
};
const CASES = [...Object.keys(STEPS), "load", "random"] as const;

type Row = Record<string, string | number>;

/** A training step, ready to run. */
type Step = Awaited<ReturnType<typeof build>>;

async function build(model: BenchModel, settings: SessionOptions = {}) {
  const session = { threads, ...settings };
  const program = await compile(stepOf(model), signatureOf(model), { name: model.name, session });
  for (const { name, shape } of program.state.fields.filter(({ name }) => name.startsWith("params/"))) {
    const size = shape.reduce((a, b) => a * b, 1);
    const norm = shape.length === 1 && !name.endsWith("bias");
    await program.state.write(
      name,
      norm ? new Float32Array(size).fill(1) : pseudoRandom(size, shape.length === 1 ? 0 : 0.02),
    );
  }
  return program;
}

/** Reproducible values of mean 0 and standard deviation `scale`. */
function pseudoRandom(size: number, scale: number): Float32Array {
  let state = 12345;
  return Float32Array.from({ length: size }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return (state / 2 ** 31) * Math.sqrt(3) * scale;
  });
}

function graphOf({ name, graph }: Pick<Program, "name" | "graph">): Graph {
  if (!graph) throw new TypeError(`Program "${name}" was loaded from a file and has no graph`);
  return graph;
}

function inputsOf(program: Pick<Program, "inputs">): Record<string, Float32Array> {
  return Object.fromEntries(
    program.inputs.map(({ name, shape }) => [
      name,
      pseudoRandom(
        shape.reduce((a, b) => a * b, 1),
        1,
      ),
    ]),
  );
}

async function benchStep(name: string): Promise<Row> {
  const { model, target } = STEPS[name] as (typeof STEPS)[string];
  const rate = await GemmRate.create(threads);
  let program!: Step;
  const compileMs = await time(async () => void (program = await build(model())));
  const inputs = inputsOf(program);
  const first = [await time(() => program.run(inputs)), await time(() => program.run(inputs))];
  for (let i = 0; i < 3; i++) await program.run(inputs);
  const times: number[] = [];
  for (let i = 0; i < rounds; i++) {
    await rate.sample();
    times.push(await time(() => program.run(inputs)), await time(() => program.run(inputs)));
  }
  const { side, gflops: gemmRate } = rate.best();
  const flops = summarize(graphOf(program)).flops;
  const gflops = flops / median(times) / 1e6;
  rate.dispose();
  const nodeRate = await nodeBindingRate(threads);
  const row: Row = {
    case: name,
    medianMs: round(median(times)),
    minMs: round(Math.min(...times)),
    maxMs: round(Math.max(...times)),
    gflop: round(flops / 1e9),
    gflopsPerSecond: round(gflops),
    gemmGflopsPerSecond: round(gemmRate),
    gemmSide: side,
    fraction: round(gflops / gemmRate, 3),
    nodeBindingGemmGflopsPerSecond: round(nodeRate),
    fractionOfNodeBinding: round(gflops / nodeRate, 3),
    target,
    nodes: operationsOf(graphOf(program)).length,
    compileMs: round(compileMs),
    firstRunMs: round(first[0] ?? NaN),
    secondRunMs: round(first[1] ?? NaN),
    overheadMs: round(await overhead(model(), false), 3),
    overheadBlockingMs: round(await overhead(model(), true), 3),
    peakMemoryMiB: round(process.resourceUsage().maxRSS / 1024),
  };
  await program.dispose();
  return row;
}

/** Median of what a run takes beyond the time that ONNX Runtime reports for it. */
async function overhead(model: BenchModel, blocking: boolean): Promise<number> {
  const { program, walls, events } = await profiled(model, 24, blocking);
  await program.dispose();
  const runs = events.filter((event) => event.name === "model_run").map((event) => event.dur / 1000);
  return median(walls.map((wall, i) => wall - (runs[i] ?? NaN)).slice(3));
}

interface ProfileEvent {
  readonly name: string;
  readonly cat: string;
  readonly ts: number;
  readonly dur: number;
  readonly args: { readonly op_name?: string; readonly output_size?: string };
}

async function profiled(
  model: BenchModel,
  runs: number,
  blocking = false,
): Promise<{ program: Step; walls: number[]; events: ProfileEvent[] }> {
  const program = await build(model, { profilePrefix: join(tmpdir(), `madformer-bench-${process.pid}`), blocking });
  const inputs = inputsOf(program);
  const walls: number[] = [];
  for (let i = 0; i < runs; i++) walls.push(await time(() => program.run(inputs)));
  const path = program.endProfiling();
  const events = JSON.parse(readFileSync(path, "utf8")) as ProfileEvent[];
  rmSync(path);
  return { program, walls, events };
}

/** Where the time of a step goes, by ONNX operator. */
async function profile(name: string): Promise<void> {
  const { program, events } = await profiled((STEPS[name] as (typeof STEPS)[string]).model(), 12);
  const runs = events.filter((event) => event.name === "model_run").slice(-6);
  const kernels = events.filter(
    ({ cat, name, ts }) =>
      cat === "Node" && name.endsWith("_kernel_time") && runs.some((run) => ts >= run.ts && ts < run.ts + run.dur),
  );
  const byOperator = new Map<string, ProfileEvent[]>();
  for (const event of kernels) {
    const operator = event.args.op_name ?? "?";
    byOperator.set(operator, [...(byOperator.get(operator) ?? []), event]);
  }
  const rows = [...byOperator].map(([operator, list]) => ({
    operator,
    count: list.length / runs.length,
    ms: round(list.reduce((sum, { dur }) => sum + dur, 0) / 1000 / runs.length),
    megabytesOut: round(list.reduce((sum, { args }) => sum + Number(args.output_size ?? 0), 0) / 1e6 / runs.length),
  }));
  console.log(`${name}: ${round(median(runs.map(({ dur }) => dur / 1000)))} ms per run in ONNX Runtime`);
  console.table(rows.sort((a, b) => b.ms - a.ms));
  await program.dispose();
}

/**
 * Time until a deep graph can run: 28 layers of two towers over 16 blocks, the depth of the published model; narrow.
 */
async function benchLoad(): Promise<Row> {
  const model = transformer({ width: 64, depth: 28, heads: 2, mlp: 128, blocks: 16, blockTokens: 8, batch: 1 });
  let program!: Step;
  const compileMs = await time(async () => void (program = await build(model)));
  const row: Row = {
    case: "load",
    compileMs: round(compileMs),
    targetMs: 15_000,
    nodes: operationsOf(graphOf(program)).length,
    peakMemoryMiB: round(process.resourceUsage().maxRSS / 1024),
  };
  await program.dispose();
  return row;
}

function round(value: number, digits = 1): number {
  return Number(value.toFixed(digits));
}

async function runCase(name: string): Promise<Row[]> {
  if (name in STEPS) return [await benchStep(name)];
  if (name === "load") return [await benchLoad()];
  if (name === "random")
    return benchRandom().map(({ name, elementsPerSecond }) => ({ case: `random ${name}`, elementsPerSecond }));
  throw new RangeError(`no case "${name}"; there are ${CASES.join(", ")}`);
}

if (options.help) {
  console.log(`npm run bench -- engine [options]

  --case NAME   one of ${CASES.join(", ")} (default: all, each in a process of its own)
  --rounds N    measured rounds, two steps each (default 15)
  --threads N   threads of ONNX Runtime (default 2)
  --busy        a step alone and beside a busy process instead
  --profile     time by operator instead, for transformer and unet
  (MADFORMER_DUMP=folder writes the graphs as text)
  --json        one JSON object per line`);
} else if (options.busy) {
  print({ ...(await benchBusy(threads, rounds)) });
} else if (options.profile) {
  for (const name of options.case === undefined ? Object.keys(STEPS) : [options.case]) await profile(name);
} else if (options.case !== undefined) {
  for (const row of await runCase(options.case)) print(row);
} else {
  if (!options.json)
    console.log(`${cpus()[0]?.model.trim() ?? "unknown processor"}, ${cpus().length} cores, Node ${process.version}`);
  for (const name of CASES) {
    const args = [
      ...process.execArgv,
      process.argv[1] as string,
      "--json",
      "--case",
      name,
      "--rounds",
      options.rounds,
      "--threads",
      options.threads,
    ];
    const output = execFileSync(process.execPath, args, { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
    for (const line of output.split("\n")) if (line.startsWith("{")) print(JSON.parse(line) as Row);
  }
}

function print(row: Row): void {
  if (options.json) console.log(JSON.stringify(row));
  else
    console.log(
      Object.entries(row)
        .map(([key, value]) => `${key} ${value}`)
        .join("  "),
    );
}

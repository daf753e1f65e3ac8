import { spawn } from "node:child_process";
import { availableParallelism } from "node:os";
import { compile, type SessionOptions } from "../src/index.js";
import { median, time } from "./measure.js";
import { signatureOf, stepOf, transformer } from "./models.js";

/** Milliseconds in which a program finds out how busy the machine is, and another session is loaded. */
const SETTLE_MS = 8_000;

/** How a step is slowed down by other processes. */
export interface BusyRow {
  readonly case: string;
  readonly busyProcesses: number;
  /** As programs are: their threads spin while the machine is theirs. */
  readonly aloneMs: number;
  readonly besideMs: number;
  readonly ratio: number;
  /** The same with threads that always spin, and that never do. */
  readonly spinningAloneMs: number;
  readonly spinningBesideMs: number;
  readonly spinningRatio: number;
  readonly sleepingAloneMs: number;
  readonly sleepingBesideMs: number;
}

/**
 * A step of a small transformer alone, and beside as many busy processes as leave one thread too many for the cores.
 */
export async function benchBusy(threads: number, rounds: number): Promise<BusyRow> {
  const model = transformer({ width: 128, depth: 3, heads: 4, mlp: 512, blocks: 4, blockTokens: 32, batch: 4 });
  const spinning = (value: "0" | "1"): SessionOptions => ({ config: { "session.intra_op.allow_spinning": value } });
  const make = (session: SessionOptions) =>
    compile(stepOf(model), signatureOf(model), { name: model.name, session: { threads, ...session } });
  await using chosen = await make({});
  await using always = await make(spinning("1"));
  await using never = await make(spinning("0"));
  const programs = [chosen, always, never];
  const inputs = Object.fromEntries(
    chosen.inputs.map(({ name, shape }) => [name, new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(0.1)]),
  );
  /** Medians of each program's step. */
  const measure = async (): Promise<[number, number, number]> => {
    const start = performance.now();
    while (performance.now() - start < SETTLE_MS) await chosen.run(inputs);
    const times = programs.map((): number[] => []);
    for (let round = 0; round < rounds; round++)
      for (const [i, program] of programs.entries()) {
        await program.run(inputs);
        for (let run = 0; run < 4; run++) times[i]!.push(await time(() => program.run(inputs)));
      }
    return times.map(median) as [number, number, number];
  };
  const alone = await measure();
  const busyProcesses = Math.max(1, availableParallelism() - threads + 1);
  const others = Array.from({ length: busyProcesses }, () => spawn(process.execPath, ["-e", "for (;;);"]));
  try {
    const beside = await measure();
    const round = (value: number): number => Number(value.toFixed(2));
    return {
      case: "busy",
      busyProcesses,
      aloneMs: round(alone[0]),
      besideMs: round(beside[0]),
      ratio: round(beside[0] / alone[0]),
      spinningAloneMs: round(alone[1]),
      spinningBesideMs: round(beside[1]),
      spinningRatio: round(beside[1] / alone[1]),
      sleepingAloneMs: round(alone[2]),
      sleepingBesideMs: round(beside[2]),
    };
  } finally {
    for (const other of others) other.kill("SIGKILL");
  }
}

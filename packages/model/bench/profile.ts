/** One event of a profile that ONNX Runtime wrote. */
interface ProfileEvent {
  readonly name: string;
  readonly cat: string;
  readonly ts: number;
  readonly dur: number;
  readonly args: {
    readonly op_name?: string;
    readonly output_type_shape?: readonly Readonly<Record<string, readonly number[]>>[];
    readonly input_type_shape?: readonly Readonly<Record<string, readonly number[]>>[];
  };
}

/** Runs at the start that are not counted: memory is not there yet. */
const WARM_UP = 2;

/** Prints the time of each kind of operation, and of the heaviest shapes, per run. */
export function printProfile(events: readonly ProfileEvent[], print: (line: string) => void): void {
  const all = events.filter(({ name }) => name === "model_run");
  const start = all[WARM_UP]?.ts ?? 0;
  const runs = Math.max(all.length - WARM_UP, 1);
  const wall = all.slice(WARM_UP).reduce((sum, { dur }) => sum + dur, 0);
  const kernels = events.filter(({ cat, name, ts }) => cat === "Node" && name.endsWith("_kernel_time") && ts >= start);
  const total = kernels.reduce((sum, { dur }) => sum + dur, 0);
  const shapeOf = (list: ProfileEvent["args"]["output_type_shape"]): string =>
    (list ?? []).map((entry) => Object.values(entry)[0]?.join("x") ?? "").join(" ");
  const tally = (key: (event: ProfileEvent) => string, count: number): void => {
    const sums = new Map<string, { us: number; calls: number }>();
    for (const event of kernels) {
      const sum = sums.get(key(event)) ?? { us: 0, calls: 0 };
      sums.set(key(event), { us: sum.us + event.dur, calls: sum.calls + 1 });
    }
    for (const [name, { us, calls }] of [...sums].sort((a, b) => b[1].us - a[1].us).slice(0, count))
      print(
        `${((100 * us) / total).toFixed(1).padStart(6)} %  ${(us / runs / 1000).toFixed(2).padStart(9)} ms  ` +
          `${String(Math.round(calls / runs)).padStart(5)} calls  ${name}`,
      );
  };
  print(
    `${runs} runs of ${(wall / runs / 1000).toFixed(1)} ms, ${(total / runs / 1000).toFixed(1)} of them in kernels`,
  );
  tally(({ args }) => args.op_name ?? "?", 20);
  print("");
  tally(({ args }) => `${args.op_name}: ${shapeOf(args.input_type_shape)} -> ${shapeOf(args.output_type_shape)}`, 40);
}

/**
 * `npm run bench -- engines [--size tiny|middle|reference] [--only ENGINE,...] [--rounds N] [--threads N] [--json]`
 *
 * A training step on every engine that is installed, in each of its precisions, by turns: all of them meet the same
 * noise.
 */
import { parseArgs } from "node:util";
import { compile, engineStates, normal, randomKey } from "@madformer/engine";
import {
  geometryOf,
  initialize,
  LossConfig,
  madformerSpecs,
  OptimizerConfig,
  stepScalars,
  trainSignature,
  trainStep,
} from "../src/index.js";
import { benchSize, SIZES } from "./config.js";
import { median } from "./measure.js";

const { values: options } = parseArgs({
  options: {
    size: { type: "string" },
    only: { type: "string" },
    rounds: { type: "string", default: "5" },
    threads: { type: "string", default: "2" },
    json: { type: "boolean", default: false },
  },
});
const [rounds, threads] = [Number(options.rounds), Number(options.threads)];
const only = options.only?.split(",");

for (const state of engineStates())
  if (state.problem !== undefined) console.error(`${state.name} is left out: ${state.problem}`);
// The oracle takes minutes for one step.
const engines = engineStates().filter(
  ({ name, problem }) => problem === undefined && (only?.includes(name) ?? name !== "cpu"),
);

for (const size of options.size === undefined ? SIZES : [options.size]) {
  const { model, batch } = benchSize(size);
  const [loss, optimizer] = [LossConfig.parse({}), OptimizerConfig.parse({})];
  const params = initialize(madformerSpecs(model), 0);
  const { T, P } = geometryOf(model);
  const random = (purpose: string): Float32Array =>
    normal(randomKey(0, purpose), { size: batch * T * P * model.latentChannels });
  const [latents, noise] = [random("latents"), random("noise")];
  const t = Int32Array.from({ length: batch * T }, (_, i) => (i * 37) % 1000);

  const runs = [];
  for (const { name: engine, precisions } of engines)
    for (const precision of precisions) {
      const start = performance.now();
      const program = await compile(trainStep(model, loss, optimizer), trainSignature(model, batch), {
        name: "train",
        engine,
        precision,
        initialState: { params, ema: params },
        session: { threads },
      });
      runs.push({ engine, precision, program, compileMs: performance.now() - start, times: [] as number[], step: 0 });
    }
  for (let round = -1; round < rounds; round++)
    for (const run of runs) {
      const scalars = stepScalars(optimizer, ++run.step, 3e-4, 0.9999);
      const start = performance.now();
      await run.program.run({ latents, noise, t, scalars });
      if (round >= 0) run.times.push(performance.now() - start);
    }
  for (const { engine, precision, program, compileMs, times } of runs) {
    await program.dispose();
    const row = {
      size,
      engine,
      precision,
      median_s: Number((median(times) / 1000).toPrecision(3)),
      best_s: Number((Math.min(...times) / 1000).toPrecision(3)),
      compile_s: Number((compileMs / 1000).toPrecision(3)),
    };
    if (options.json) console.log(JSON.stringify(row));
    else
      console.log(
        `${size.padEnd(10)} ${`${engine} ${precision}`.padEnd(20)} step ${row.median_s} s (best ${row.best_s} s), ready after ${row.compile_s} s`,
      );
  }
}

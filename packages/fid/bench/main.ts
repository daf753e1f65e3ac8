/**
 * `npm run bench -- fid [--json] [--config FILE] [--threads N] [--rounds N] [--case NAME]`
 *
 * Images per second through the Inception network, features per second into statistics, and the time of a Fréchet
 * distance.
 */
import { readFileSync } from "node:fs";
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import {
  FeatureStatistics,
  frechetDistance,
  inceptionUnits,
  InceptionExtractor,
  readInceptionWeights,
  type InceptionDims,
  type TensorSource,
} from "@madformer/fid";

const { values: options } = parseArgs({
  options: {
    json: { type: "boolean", default: false },
    config: { type: "string" },
    threads: { type: "string", default: "2" },
    rounds: { type: "string", default: "5" },
    only: { type: "string" },
    help: { type: "boolean", short: "h", default: false },
  },
  strict: false, // a bench of several packages hands all of them the same arguments
});
const text = (name: "threads" | "rounds" | "only" | "config"): string | undefined => {
  const value = options[name];
  return typeof value === "string" ? value : undefined;
};
const threads = Number(text("threads"));
const rounds = Number(text("rounds"));
const config = JSON.parse(text("config") === undefined ? "{}" : readFileSync(text("config") ?? "", "utf8")) as {
  readonly inception_batch?: number;
  readonly frechet_dims?: number;
};

/** Side of the images: those of the presets that are scored. */
const SIDE = 256;
const DIMS: InceptionDims = 2048;
const STATISTICS_ROWS = 10_000;

type Figure = Readonly<Record<string, string | number>>;

const median = (values: readonly number[]): number => {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? NaN;
};

/** Median of seconds, after one run that is not counted. */
async function measure(run: () => unknown): Promise<number> {
  const times = [];
  for (let round = 0; round <= rounds; round++) {
    const start = performance.now();
    await run();
    times.push((performance.now() - start) / 1000);
  }
  return median(times.slice(1));
}

/** Reproducible values in [0, 1). */
function draws(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Weights of the network's shapes that keep activations in range. */
class DrawnWeights implements TensorSource {
  private readonly draw = draws(1);
  private readonly units = inceptionUnits(DIMS);

  has(): boolean {
    return true;
  }

  read(key: string): Promise<{ shape: number[]; data: Float32Array }> {
    const [, name = "", part = ""] = /^(.*)\.((?:conv|bn)\.\w+)$/.exec(key) ?? [];
    const { channelsIn, channelsOut, kernel } = this.units.get(name)!;
    const filter = part === "conv.weight";
    const shape = filter ? [channelsOut, channelsIn, ...kernel] : [channelsOut];
    const reach = filter ? Math.sqrt(6 / (channelsIn * kernel[0] * kernel[1])) : 0.5;
    const center = part === "bn.weight" || part === "bn.running_var" ? 1 : 0;
    const size = shape.reduce((product, n) => product * n, 1);
    return Promise.resolve({
      shape,
      data: Float32Array.from({ length: size }, () => center + reach * (2 * this.draw() - 1)),
    });
  }
}

async function inception(): Promise<Figure> {
  const batch = config.inception_batch ?? 50;
  const weights = await readInceptionWeights(new DrawnWeights(), DIMS);
  await using extractor = await InceptionExtractor.create(weights, {
    imageSize: { height: SIDE, width: SIDE },
    batchImages: Math.min(batch, 10),
    session: { threads },
  });
  const draw = draws(2);
  const images = Uint8Array.from({ length: batch * SIDE * SIDE * 3 }, () => 256 * draw());
  const seconds = await measure(() => extractor.features(images));
  return { kind: "inception", median_s: seconds, images_per_s: batch / seconds, batch };
}

/** Rows of `dims` correlated values. */
function rowsOf(dims: number, rows: number, seed: number): Float32Array {
  const draw = draws(seed);
  const features = Float32Array.from({ length: rows * dims }, draw);
  for (let i = 1; i < features.length; i++) features[i] = 0.7 * features[i - 1]! + 0.3 * features[i]!;
  return features;
}

function statistics(): Promise<Figure> {
  const features = rowsOf(DIMS, STATISTICS_ROWS, 3);
  return measure(() => {
    const statistics = new FeatureStatistics(DIMS);
    statistics.add(features);
    statistics.mean();
  }).then((seconds) => ({
    kind: "statistics",
    median_s: seconds,
    rows_per_s: STATISTICS_ROWS / seconds,
    rows: STATISTICS_ROWS,
    dims: DIMS,
  }));
}

async function frechet(): Promise<Figure> {
  const dims = config.frechet_dims ?? 2048;
  const [a, b] = [4, 5].map((seed) => {
    const statistics = new FeatureStatistics(dims);
    statistics.add(rowsOf(dims, 2 * dims, seed));
    return statistics.gaussian();
  }) as [Gaussian, Gaussian];
  const seconds = await measure(() => frechetDistance(a, b));
  return { kind: "frechet", median_s: seconds, dims };
}

type Gaussian = Parameters<typeof frechetDistance>[0];

const CASES = { inception, statistics, frechet } as const;

if (options.help) {
  console.log(`npm run bench -- fid [options]

  --only KINDS   some of ${Object.keys(CASES).join(",")} (default: all)
  --rounds N     measured runs of each (default 5)
  --threads N    threads of ONNX Runtime (default 2)
  --config FILE  JSON; the fields inception_batch (default 50) and frechet_dims (default 2048) are used, others are not
  --json         one JSON object per line`);
} else {
  if (!options.json && text("only") === undefined)
    console.log(`${cpus()[0]?.model.trim() ?? "unknown processor"}, ${cpus().length} cores, Node ${process.version}`);
  const only = text("only")?.split(","); // kinds of other packages' benches are theirs
  const rows: Figure[] = [];
  for (const [name, run] of Object.entries(CASES)) {
    if (only && !only.includes(name)) continue;
    const row = await run();
    rows.push(row);
    if (options.json) console.log(JSON.stringify(row));
  }
  if (!options.json && rows.length > 0)
    console.table(
      rows.map((row) =>
        Object.fromEntries(
          Object.entries(row).map(([k, v]) => [k, typeof v === "number" ? Number(v.toPrecision(4)) : v]),
        ),
      ),
    );
}

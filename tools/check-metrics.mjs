/**
 * npm run test:metrics
 *
 * Metrics, features and resizes beside those of torch-fidelity 0.4.0 and clean-fid 0.1.35, on the same images and
 * weights. The weights are random, of Inception's shapes: nothing is downloaded. It needs a Python with PyTorch, SciPy
 * and the two packages (MADFORMER_METRICS_PYTHON, or python3); where there is none, it says so and checks nothing.
 */
import { mkdtempSync, rmSync } from "node:fs";
import path from "node:path";
import { tmpdir } from "node:os";
import { fileURLToPath } from "node:url";
import { $ } from "zx";

const root = fileURLToPath(new URL("..", import.meta.url));
const python = process.env["MADFORMER_METRICS_PYTHON"] ?? "python3";
const script = path.join(root, "tools/metrics/originals.py");
const bin = path.join(root, "packages/cli/bin/madformer.mjs");

const known = await $({
  nothrow: true,
  quiet: true,
})`${python} -c ${"import torch, scipy, PIL, torch_fidelity, cleanfid.fid"}`;
if (known.exitCode !== 0) {
  const reason = known.stderr.trim().split("\n").at(-1);
  console.log(`metrics are not compared with the original packages: ${python} has not all of them (${reason})`);
  process.exit(0);
}
await $({ cwd: root, stdio: ["ignore", 2, 2] })`npx nx run-many -t build`;
const folder = mkdtempSync(path.join(tmpdir(), "metrics-"));
const at = (/** @type {string} */ name) => path.join(folder, name);
try {
  await $({ stdio: ["ignore", 2, 2] })`${python} ${script} make ${folder}`;
  const weights = ["--network", "inception", "--weights", at("weights.pth")];
  const likeTorchFidelity = [...weights, "--resize", "torch-fidelity"];
  await features("a", "ours-a", likeTorchFidelity);
  await features("b", "ours-b", likeTorchFidelity);
  await features("a", "ours-a-64", [...likeTorchFidelity, "--inception-dims", "64"]);
  await features("b", "ours-b-64", [...likeTorchFidelity, "--inception-dims", "64"]);
  await features("sizes", "ours-clean", [...weights, "--resize", "clean-fid"]);
  for (const [from, out] of [
    ["", "score"],
    ["-64", "score-64"],
  ])
    await madformer("score", [
      ...["--reference", at(`ours-a${from}`), "--samples", at(`ours-b${from}`), "--out", at(out ?? "")],
    ]);
  const { stdout } = await $({ quiet: true, stdio: ["ignore", "pipe", 2] })`${python} ${script} compare ${folder}`;
  /** @type {{ what: string, apart: number, tolerance: number }[]} */
  const results = JSON.parse(stdout.trim().split("\n").at(-1) ?? "[]");
  for (const { what, apart, tolerance } of results)
    console.log(`${apart <= tolerance ? "  ok" : "FAIL"} ${what}: ${apart.toExponential(1)} apart, up to ${tolerance}`);
  const failed = results.filter(({ apart, tolerance }) => !(apart <= tolerance)).length;
  console.log(`metrics: ${results.length - failed} of ${results.length} agree with the original packages`);
  process.exitCode = failed === 0 && results.length > 0 ? 0 : 1;
} finally {
  rmSync(folder, { recursive: true });
}

/**
 * @param {string} images
 * @param {string} out
 * @param {readonly string[]} options
 */
async function features(images, out, options) {
  await madformer("features", ["--images", at(images), "--out", at(out), ...options]);
}

/**
 * @param {string} stage
 * @param {readonly string[]} options
 */
async function madformer(stage, options) {
  await $({ stdio: ["ignore", 2, 2] })`node ${bin} ${stage} ${options}`;
}

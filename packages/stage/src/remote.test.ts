import { rm } from "node:fs/promises";
import { join } from "node:path";
import { sha256 } from "@madformer/artifacts";
import { StageRemote } from "./remote.js";
import { restorePipeline } from "./restore.js";
import { runStage, type StageResult } from "./run.js";
import { bench, program, repeatStage, runAll, twoStages, withRemote, type Bench } from "./testing.js";

const CODE = program("code");

/** Runs `repeat` on a machine; says what it made, and how many files were computed. */
async function run(
  on: Bench,
  times = 2,
  remote?: StageRemote,
): Promise<StageResult & { readonly computed: readonly string[] }> {
  const { stage, made } = repeatStage();
  const { store, stream } = on;
  const signal = new AbortController().signal;
  const own = remote ?? (await open(on));
  try {
    const inputs = { words: await on.words("hi ") };
    const result = await runStage(stage, { times, suffix: "" }, inputs, {
      program: CODE,
      store,
      stream,
      signal,
      remote: own,
    });
    return { ...result, computed: made };
  } finally {
    if (remote === undefined) await own?.[Symbol.asyncDispose]();
  }
}

const open = ({ root, store, stream }: Bench) =>
  StageRemote.open(root, store, {
    signal: new AbortController().signal,
    title: "it",
    stream,
    limits: { retryMs: 1, retries: 1, contactMs: 300 },
  });
const warnings = (on: Bench): string[] =>
  on
    .said()
    .split("\n")
    .filter((line) => line.includes("warning"))
    .map((line) => line.replaceAll(/127\.0\.0\.1:\d+/g, "HOST"));
const pathOf = (text: string): string => `bucket/team/objects/${sha256(text).slice(0, 2)}/${sha256(text)}`;

describe("runStage() with a remote store", () => {
  test("pushes what it made, and fetches what another machine has made", async () => {
    await withRemote(async () => {
      await using a = await bench();
      await using b = await bench();
      const first = await run(a);
      expect(first).toMatchObject({ reused: false, computed: ["0.txt", "1.txt"] });
      const second = await run(b);
      expect(second).toMatchObject({ reused: true, fetched: true, computed: [] });
      expect(second.record).toEqual(first.record);
      expect(await b.store.missing(second.manifest, true)).toEqual([]);
      expect([warnings(a), warnings(b)]).toEqual([[], []]);
      expect(await run(b)).toMatchObject({ reused: true, computed: [] });
    });
  });

  test("gets back from there what was damaged here", async () => {
    await withRemote(async () => {
      await using a = await bench();
      const { manifest } = await run(a);
      await a.store.remove(manifest.files["1.txt"]!.sha256);
      expect(await run(a)).toMatchObject({ fetched: true, computed: [] });
    });
  });

  test("computes when nobody answers, and says so once, in little time", async () => {
    await withRemote(async (standIn) => {
      await using a = await bench();
      await standIn.stop();
      await using remote = await open(a);
      const began = performance.now();
      for (const times of [1, 2, 3]) expect((await run(a, times, remote)).reused).toBe(false);
      expect(performance.now() - began).toBeLessThan(20_000);
      expect(warnings(a)).toEqual([
        expect.stringMatching(
          /^it: warning: Cannot read s3:\/\/bucket\/team\/trusted\/keys\/\w+\.json at HOST: the connection was refused.*; computing what is not here; nothing is pushed$/,
        ),
      ]);
    });
  });

  test("says it once for all processes of a run", async () => {
    await withRemote(async (standIn) => {
      await using a = await bench();
      await standIn.stop();
      process.env["MADFORMER_REMOTE_TROUBLE"] = join(a.root, "trouble");
      try {
        await run(a, 1);
        await run(a, 2);
        expect(warnings(a)).toHaveLength(1);
      } finally {
        Reflect.deleteProperty(process.env, "MADFORMER_REMOTE_TROUBLE");
      }
    });
  });

  test("goes on fetching where it may not push", async () => {
    await withRemote(async (standIn) => {
      await using a = await bench();
      await using b = await bench();
      await run(a, 1);
      standIn.fault = (request, response) =>
        request.method === "PUT" && Boolean(response.writeHead(403).end("<Error><Code>AccessDenied</Code></Error>"));
      await using remote = await open(b);
      expect(await run(b, 2, remote)).toMatchObject({ reused: false });
      expect(await run(b, 1, remote)).toMatchObject({ fetched: true });
      expect(await run(b, 3, remote)).toMatchObject({ reused: false });
      expect(warnings(b)).toEqual([
        expect.stringMatching(/^it: warning: Cannot write .*AccessDenied.*; `npx madformer push` does it later$/),
      ]);
    });
  });

  test("computes what is damaged or missing there, and mends it", async () => {
    await withRemote(async (standIn) => {
      await using a = await bench();
      await run(a);
      const path = pathOf("hi 1");
      expect(standIn.objects.get(path)?.toString()).toBe("hi 1");
      for (const change of [() => standIn.objects.set(path, Buffer.from("ho 1")), () => standIn.objects.delete(path)]) {
        change();
        await using b = await bench();
        expect(await run(b)).toMatchObject({ reused: false, computed: ["0.txt", "1.txt"] });
        expect(warnings(b)).toEqual([expect.stringContaining(path.slice("bucket/".length))]);
        expect(standIn.objects.get(path)?.toString()).toBe("hi 1");
        await using c = await bench();
        expect(await run(c)).toMatchObject({ fetched: true, computed: [] });
      }
    });
  });

  test("says once in a run that an object is damaged there, and mends it in another of its processes", async () => {
    await withRemote(async (standIn) => {
      await using a = await bench();
      const made = await run(a);
      standIn.objects.set(pathOf("hi 1"), Buffer.from("ho 1"));
      await using b = await bench();
      process.env["MADFORMER_REMOTE_TROUBLE"] = join(b.root, "trouble");
      try {
        await using first = await open(b);
        expect(await first?.bring(made, "it")).toBe(false);
        expect(await run(b)).toMatchObject({ reused: false, computed: ["0.txt", "1.txt"] });
        expect(warnings(b)).toHaveLength(1);
        expect(standIn.objects.get(pathOf("hi 1"))?.toString()).toBe("hi 1");
      } finally {
        Reflect.deleteProperty(process.env, "MADFORMER_REMOTE_TROUBLE");
      }
    });
  });

  test("keeps what it made when the server stops while it pushes", async () => {
    await withRemote(async (standIn) => {
      await using a = await bench();
      standIn.fault = (request) => {
        if (request.method !== "PUT" || !/objects\/..\//.test(request.url!)) return false;
        void standIn.stop();
        return true;
      };
      const made = await run(a);
      expect(made.reused).toBe(false);
      expect(warnings(a)).toHaveLength(1);
      expect([...standIn.objects.keys()].filter((key) => key.includes("trusted"))).toEqual([]);
      expect(await a.store.missing(made.manifest, true)).toEqual([]);
      expect(await run(a)).toMatchObject({ reused: true, computed: [] });
    });
  });
});

describe("restorePipeline()", () => {
  test("brings back all files of what is known, up to the first stage that is not", async () => {
    await withRemote(async () => {
      await using a = await bench();
      const on = await twoStages(a);
      const made = await runAll(a, on, CODE);
      await using remote = await open(a);
      for (const one of Object.values(made)) await remote?.push(one, "it");

      await using b = await bench();
      const restored: string[] = [];
      const restore = async (there: Awaited<ReturnType<typeof twoStages>>, code = CODE) => {
        await using theirs = await open(b);
        const found = await restorePipeline(there.pipeline, "second", {
          store: b.store,
          remote: theirs,
          signal: new AbortController().signal,
          stage: async (uses) => there.stages[uses]!,
          program: async () => code,
          whole: true,
          onStage: (name, from) => restored.push(`${name}: ${from}`),
        });
        return found.map(({ name, state }) => `${name} ${state}`);
      };
      const there = await twoStages(b);
      const before = process.cwd();
      process.chdir(b.root);
      try {
        expect(await restore(there)).toEqual(["first restored", "second restored"]);
        expect(restored).toEqual(["first: fetched from s3://bucket/team", "second: fetched from s3://bucket/team"]);
        expect(await restore(there)).toEqual(["first current", "second current"]);
        await rm(join(b.root, "store"), { recursive: true });
        expect(await restore(there)).toEqual(["first restored", "second restored"]);
        expect(await restore(there, program("other"))).toEqual(["first unknown", "second waits"]);
      } finally {
        process.chdir(before);
      }
    });
  });
});

import { chmod, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { sha256, type Made } from "@madformer/artifacts";
import { bringInputs, InputLost, Lent } from "./lent.js";
import { inputsOf } from "./main.js";
import { outputFolder, readOutput } from "./output.js";
import { readPipeline } from "./pipeline.js";
import { StageRemote } from "./remote.js";
import { restorePipeline, type RestoreOptions } from "./restore.js";
import { pipelineStatus } from "./status.js";
import { bench, program, runAll, twoStages, withRemote, type Bench, type StandIn, type TwoStages } from "./testing.js";
import { verify } from "./verify.js";

const CODE = program("code");
const URI = "s3://bucket/team";

const open = ({ root, store, stream }: Bench) =>
  StageRemote.open(root, store, {
    signal: new AbortController().signal,
    title: "it",
    stream,
    limits: { retryMs: 1, retries: 1, contactMs: 300 },
  });

/** Two machines: what both stages make is in the remote store, and `b` has nothing. */
async function withMade(run: (b: Bench, there: TwoStages, standIn: StandIn) => Promise<void>): Promise<void> {
  await withRemote(async (standIn) => {
    await using a = await bench();
    const made = await runAll(a, await twoStages(a), CODE);
    await using theirs = await open(a);
    for (const one of Object.values(made)) await theirs?.push(one, "it");
    await using b = await bench();
    const there = await twoStages(b);
    standIn.asked.length = 0;
    const before = process.cwd();
    process.chdir(b.root);
    try {
      await run(b, there, standIn);
    } finally {
      process.chdir(before);
    }
  });
}

async function restore(
  on: Bench,
  { pipeline, stages }: TwoStages,
  more: Partial<RestoreOptions> & { readonly last?: string } = {},
): Promise<string[]> {
  await using remote = await open(on);
  const found = await restorePipeline(pipeline, more.last ?? "second", {
    store: on.store,
    remote,
    signal: new AbortController().signal,
    stage: async (uses) => stages[uses]!,
    program: async () => CODE,
    ...more,
  });
  return found.map(({ name, state }) => `${name} ${state}`);
}

/** The same pipeline with other words for the second stage, which has to run then. */
async function changed(there: TwoStages): Promise<TwoStages> {
  const file = join(there.pipeline.folder, "pipeline.json");
  const words = JSON.parse(await readFile(file, "utf8")) as { second: { config: object } };
  words.second.config = { times: 2 };
  await writeFile(file, JSON.stringify(words));
  return { ...there, pipeline: readPipeline(there.pipeline.folder) };
}

const status = (on: Bench, { pipeline }: TwoStages, remote: string | undefined = URI, whole = false) =>
  pipelineStatus(pipeline, "second", { store: on.store, program: () => CODE.sha256, remote, whole });
const outOf = ({ pipeline }: TwoStages, stage = "first"): string => outputFolder(pipeline.folder, stage);
const shown = async (there: TwoStages, stage = "first"): Promise<string[]> =>
  readdir(join(outOf(there, stage), "files")).catch(() => []);
const madeBy = async (there: TwoStages): Promise<Made> => (await readOutput(outOf(there)))!;
const objectOf = (text: string): string => `bucket/team/objects/${sha256(text).slice(0, 2)}/${sha256(text)}`;
/** Files of `first`. */
const FILES = ["hi0", "hi1"];

describe("restorePipeline(), of what the remote store knows", () => {
  test("fetches the files of the last stage, and of the others what tells of them", async () => {
    await withMade(async (b, there, standIn) => {
      expect(await restore(b, there)).toEqual(["first known", "second restored"]);
      for (const file of FILES) expect(standIn.asked).not.toContain(`GET ${objectOf(file)}`);
      expect(await shown(there)).toEqual([]);
      expect(await shown(there, "second")).toEqual(["0.txt"]);
      expect(await madeBy(there)).toMatchObject({ manifest: { stage: "first" } });
    });
  });

  test("then there is nothing to do, and nobody is asked; with another remote store or none there is", async () => {
    await withMade(async (b, there, standIn) => {
      await restore(b, there);
      standIn.asked.length = 0;
      expect(await status(b, there)).toMatchObject([{ current: true, elsewhere: true }, { current: true }]);
      expect(await restore(b, there)).toEqual(["first known", "second current"]);
      expect(standIn.asked).toEqual([]);
      for (const remote of ["s3://bucket/other", ""])
        expect((await status(b, there, remote))[0]).toMatchObject({ current: false });
      expect((await status(b, there, URI, true))[0]).toMatchObject({ current: false });
    });
  });

  test("fetches all files where all are asked for, also after it left them there", async () => {
    await withMade(async (b, there) => {
      await restore(b, there);
      expect(await restore(b, there, { whole: true })).toEqual(["first restored", "second current"]);
      expect(await shown(there)).toEqual(["0.txt", "1.txt"]);
      expect(await status(b, there, undefined, true)).toMatchObject([{ current: true, elsewhere: false }, {}]);
    });
  });

  test("fetches the files that a stage reads which has to run", async () => {
    await withMade(async (b, there) => {
      expect(await restore(b, await changed(there))).toEqual(["first restored", "second unknown"]);
      expect(await shown(there)).toEqual(["0.txt", "1.txt"]);
      expect(await b.store.lookup((await madeBy(there)).record.key)).toBeDefined();
    });
  });

  test("does so as well when that stage is asked for later", async () => {
    await withMade(async (b, there) => {
      await restore(b, there);
      expect(await restore(b, await changed(there))).toEqual(["first restored", "second unknown"]);
      expect(await shown(there)).toEqual(["0.txt", "1.txt"]);
    });
  });

  test("leaves it to a stage that reads few files to ask for them", async () => {
    await withMade(async (b, there, standIn) => {
      const second = { ...there.stages["second"]!, inputs: { words: { summary: "words", few: true } } };
      const few = { ...(await changed(there)), stages: { ...there.stages, second } };
      expect(await restore(b, few)).toEqual(["first known", "second unknown"]);
      await using remote = await open(b);
      const lent = new Lent(there.pipeline, b.store, remote);
      const entry = there.pipeline.stages[1]!;
      const before = new Map([["first", await madeBy(there)]]);
      await bringInputs(entry, second.inputs, before, lent);
      const { words } = inputsOf(second, entry, there.pipeline.folder, before, b.store, lent);
      expect(await readFile(await words.path("1.txt"), "utf8")).toBe("hi1");
      expect(standIn.asked).toContain(`GET ${objectOf("hi1")}`);
      expect(standIn.asked).not.toContain(`GET ${objectOf("hi0")}`);
      expect((await status(b, there))[0]).toMatchObject({ current: true, elsewhere: true });
    });
  });

  test("runs the stage whose files are damaged or gone there, when something reads them, and says so once", async () => {
    for (const harm of ["damaged", "missing"])
      await withMade(async (b, there, standIn) => {
        await restore(b, there);
        if (harm === "missing") standIn.objects.delete(objectOf("hi1"));
        else standIn.objects.set(objectOf("hi1"), Buffer.from("ho1"));
        expect(await restore(b, await changed(there))).toEqual(["first unknown", "second unknown"]);
        expect((await status(b, there))[0]).toMatchObject({ current: false });
        expect(b.said().match(/warning/g)).toHaveLength(1);
        expect(b.said()).toContain(objectOf("hi1").slice("bucket/team/".length));
      });
  });

  test("runs it when nobody answers, if something reads them, and else leaves all as it is", async () => {
    await withMade(async (b, there, standIn) => {
      await restore(b, there);
      await standIn.stop();
      expect(await restore(b, there)).toEqual(["first known", "second current"]);
      expect(await restore(b, await changed(there))).toEqual(["first unknown", "second unknown"]);
    });
  });

  test("believes no output that was changed", async () => {
    await withMade(async (b, there) => {
      await restore(b, there);
      await writeFile(join(outOf(there), "manifest.json"), "{}");
      expect((await status(b, there))[0]).toMatchObject({ current: false });
      expect(await restore(b, there)).toEqual(["first known", "second current"]);
      expect((await status(b, there))[0]).toMatchObject({ current: true });
    });
  });
});

describe("bringInputs()", () => {
  test("gets what is in the remote store, shows it, and says which stage has to run if it cannot", async () => {
    await withMade(async (b, there, standIn) => {
      await restore(b, there);
      const before = new Map([["first", await madeBy(there)]]);
      const [, entry] = there.pipeline.stages;
      const bring = async (): Promise<void> => {
        await using remote = await open(b);
        await bringInputs(entry!, there.stages["second"]!.inputs, before, new Lent(there.pipeline, b.store, remote));
      };
      const gone = standIn.objects.get(objectOf("hi0"))!;
      standIn.objects.delete(objectOf("hi0"));
      const lost: unknown = await bring().catch((error: unknown) => error);
      expect(lost).toBeInstanceOf(InputLost);
      expect((lost as Error).message).toMatch(/^Cannot run second: files of first are in the remote store alone/);
      expect((await status(b, there))[0]).toMatchObject({ current: false });

      standIn.objects.set(objectOf("hi0"), gone);
      await restore(b, there);
      await bring();
      expect(await shown(there)).toEqual(["0.txt", "1.txt"]);
      await bring(); // nothing is lent any more
    });
  });
});

describe("verify(), of files that are in the remote store alone", () => {
  const check = (b: Bench, { pipeline }: TwoStages, remote?: string) =>
    verify({ store: b.store, pipelines: [pipeline], whole: true, deep: true, dryRun: false, remote });

  test("finds nothing wrong with them; without that remote store they are missing", async () => {
    await withMade(async (b, there) => {
      await restore(b, there);
      expect(await check(b, there, URI)).toMatchObject({ findings: [], elsewhere: 1, stages: 2 });
      const { findings } = await check(b, there);
      expect(findings.map(({ problem }) => problem)).toContain('"0.txt" is missing');
    });
  });

  test("removes one that came and is damaged, and takes one back that is shown", async () => {
    await withMade(async (b, there) => {
      await restore(b, there, { whole: true });
      await rm(b.store.root, { recursive: true });
      await restore(b, there);
      await using remote = await open(b);
      const lent = new Lent(there.pipeline, b.store, remote);
      const made = await madeBy(there);
      const ref = made.manifest.files["0.txt"]!;
      expect(await lent.bringOne("first", made, ref)).toBe(true);
      await chmod(b.store.objectPath(ref.sha256), 0o644);
      await writeFile(b.store.objectPath(ref.sha256), "ho0");
      const { findings } = await check(b, there, URI);
      expect(findings).toMatchObject([{ problem: '"0.txt" is damaged', mended: "removed" }]);
      await expect(stat(b.store.objectPath(ref.sha256))).rejects.toThrow("ENOENT");
      expect(await check(b, there, URI)).toMatchObject({ findings: [] });
      expect((await status(b, there))[0]).toMatchObject({ current: true, elsewhere: true });
    });
  });
});

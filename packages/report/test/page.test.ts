/** The page as a whole, from a run like a real one. */
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Artifact, DataError, openFolder } from "@madformer/artifacts";
import { readRun, renderPage, ReportConfig, reportStage, RUN_STARTED } from "@madformer/report";
import { StageFiles } from "@madformer/stage";
import { INPUTS, type StageName } from "../src/inputs.js";
import { spread } from "../src/run.js";
import { flatten } from "../src/page/lineage.js";
import { fixtureRun, TODAY, YESTERDAY, type Fixture } from "./fixture/run.js";

const HOSTILE = `</script></title></style><script>alert(1)</script><img src=x onerror=alert(1)>"'><svg onload=alert(1)>`;
const NONE = Object.fromEntries(Object.keys(INPUTS).map((name) => [name, undefined])) as Record<StageName, undefined>;
const CONFIG = ReportConfig.parse({ title: "A run" });

let folder: string;
let fixture: Fixture;
let page: string;

async function pageOf(
  inputs: Partial<Record<StageName, Artifact>>,
  config = CONFIG,
  runStarted?: string,
): Promise<string> {
  return renderPage(await readRun(inputs, config), config, runStarted);
}
/** The text between tags, spaces as a browser shows them. */
const textOf = (html: string): string =>
  html
    .replace(/<(style|script)>.*?<\/\1>/gs, "")
    .replace(/<[^>]*>/g, " ")
    .replace(/\s+/g, " ");
const titles = (html: string): string[] => [...html.matchAll(/<h2 id="(\w+)-title"/g)].map((match) => match[1] ?? "");
const count = (html: string, what: RegExp): number => html.match(what)?.length ?? 0;

/** How often a path turns from up to down or back. */
function turns(path: string): number {
  const ys = path.split("L").map((point) => Number(point.split(",")[1]));
  return ys.filter((y, i) => i > 0 && i < ys.length - 1 && (y - (ys[i - 1] ?? 0)) * ((ys[i + 1] ?? 0) - y) < 0).length;
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "report-"));
  fixture = await fixtureRun(join(folder, "run"), { steps: 300, samples: 12, examples: 5 });
  page = await pageOf(fixture);
});
afterAll(() => rm(folder, { recursive: true }));

describe("renderPage()", () => {
  test("has every section, the result first and the commands last", () => {
    expect(titles(page)).toEqual([
      "samples",
      "classes",
      "order",
      "scores",
      "training",
      "data",
      "codec",
      "network",
      "lineage",
      "resources",
      "reproduce",
    ]);
  });

  test("shows a row of samples for each class, and how often it was read", () => {
    const section = /<section id="classes".*?<\/section>/s.exec(page)?.[0] ?? "";
    expect(textOf(section)).toContain("reads the class that was asked for in 86.3 % of 2,048 samples");
    expect(count(section, /<img /g)).toBe(2);
  });

  test("says the score, its name and its sample count in the first sentence", () => {
    const { final } = fixture.score.manifest.facts as { final: number };
    expect(textOf(page)).toContain(
      `FD (faces-net) ${final.toFixed(3)} over 2,048 samples against 8,192 images of the data. ` +
        "64-pixel samples drawn with dpm-solver++ in 25 steps (NFE 100) from EMA weights after 300 steps of training.",
    );
  });

  test("is the same for the same arguments", async () => {
    expect(await pageOf(fixture)).toBe(page);
    expect(await pageOf(fixture, ReportConfig.parse({ title: "Another run" }))).not.toBe(page);
  });

  test("names nothing outside itself: no address, no file, no style or handler in an attribute", () => {
    const markup = page.replace(/<(style|script)>.*?<\/\1>/gs, "");
    for (const [, value = ""] of markup.matchAll(/\s(?:src|href|action|poster|srcset)="([^"]*)"/g))
      expect(value.slice(0, 16)).toMatch(/^(#|data:image\/)/);
    expect(markup).not.toMatch(/<[^>]*\s(style|on\w+)=/);
    expect(markup.replace(/data:image\/[^"]*/g, "")).not.toMatch(/https?:|\/\//);
    expect(page).not.toMatch(/<(iframe|object|embed|form|base|link rel="(?!icon))/);
  });

  test("allows by its policy its own style and script alone", () => {
    const policy = /http-equiv="Content-Security-Policy" content="([^"]*)"/.exec(page)?.[1]?.replaceAll("&#39;", "'");
    const hash = (name: string): string => {
      const text = new RegExp(`<${name}>(.*?)</${name}>`, "s").exec(page)?.[1] ?? "";
      return `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
    };
    expect(policy).toBe(
      `default-src 'none'; img-src data:; style-src ${hash("style")}; script-src ${hash("script")}; base-uri 'none'; form-action 'none'`,
    );
    expect([count(page, /<style/g), count(page, /<script/g)]).toEqual([1, 1]);
  });

  test("has one target for every anchor, and a text for every image", () => {
    const ids = [...page.matchAll(/\sid="([^"]*)"/g)].map((match) => match[1]);
    expect(new Set(ids).size).toBe(ids.length);
    for (const [, target] of page.matchAll(/href="#([^"]*)"/g)) expect(ids).toContain(target);
    expect(count(page, /<img\s/g)).toBe(12 + 2 + 1 + 8 + 5 + 1);
    expect(count(page, /<img\s[^>]*alt="[^"]+"/g)).toBe(count(page, /<img\s/g));
    expect(count(page, /<svg\s[^>]*role="(img|group)"\s[^>]*aria-label="[^"]+"/g)).toBe(
      count(page, /<svg\s/g) - count(page, /<svg\s[^>]*aria-hidden="true"/g),
    );
  });

  test("shows no more than its config says", async () => {
    const config = ReportConfig.parse({ samples: 3, examples: 2, frames: 4, maxTileSide: 32, maxSide: 100 });
    const small = await pageOf(fixture, config);
    expect(count(small, /alt="Sample of seed/g)).toBe(3);
    expect(count(small, /alt="Image 00000\/\d+ of the data"/g)).toBe(2);
    expect(count(small, /alt="Samples at step/g)).toBe(4);
    expect(textOf(small)).toContain("Shown at 1/2 of their size.");
    expect(textOf(small)).toContain(": 4 of 8 grids, evenly spread.");
    for (const [, width] of small.matchAll(/<img\s[^>]*width="(\d+)"/g)) expect(Number(width)).toBeLessThanOrEqual(100);
  });

  test("says how many images there are, and how many could not be read", () => {
    expect(textOf(page)).toContain(
      "The first 5 of 8,192 images of 64 × 64 pixels, in their order. 2 images could not be read and were skipped.",
    );
    expect(textOf(page)).toContain("The first 12 of 2,048 samples, in the order of their seeds.");
  });

  test("can be about any stage alone", async () => {
    for (const [name, artifact] of Object.entries(fixture) as [StageName, Artifact][]) {
      const alone = await pageOf({ [name]: artifact });
      expect(titles(alone).slice(-3)).toEqual(["lineage", "resources", "reproduce"]);
      expect(textOf(alone)).not.toMatch(/undefined|NaN|\[object/);
      expect(alone).not.toMatch(/undefined|NaN,|,NaN/);
    }
  });

  test("says what is not recorded where an artifact came without its record", async () => {
    const bare = Object.fromEntries(
      Object.entries(fixture).map(([name, artifact]) => [name, { ...artifact, record: undefined }]),
    );
    const text = textOf(await pageOf(bare));
    expect(text).toContain("Made not recorded");
    expect(text).not.toContain("Computing time");
    expect(text).not.toMatch(/undefined|NaN/);
  });
});

describe("the scores", () => {
  test("stand in a table, the main one marked, beside the mean and the floor", () => {
    const rows = [...page.matchAll(/<tr class="(\w*)">\s*<th scope="row">([^<]*)<\/th>/g)].map((m) => [m[1], m[2]]);
    expect(rows).toHaveLength(8);
    expect(rows.slice(-2)).toEqual([
      ["", "step-0000263"],
      ["main", "final"],
    ]);
    const text = textOf(page);
    expect(text).toContain("Mean over the last 3 checkpoints: FD (faces-net) 7.881.");
    expect(text).toContain(
      "2,048 images of the data, chosen at random and held out, are at a distance of 1.620 from the 6,144 others.",
    );
    expect(text).toContain("held-out data – 1.620 0.910 0.900 2,048");
    expect(text).toContain("The groups were scored over different numbers of samples");
  });

  test("are drawn against training where there are several with steps", async () => {
    expect(count(page, /id="plot-(distance|precision)"/g)).toBe(2);
    const { manifest } = fixture.score;
    const groups = [{ name: "final", distance: 3 }];
    const one = { ...fixture.score, manifest: { ...manifest, facts: { metric: "FD", groups } } };
    const alone = await pageOf({ score: one });
    expect(count(alone, /<figure class="plot/g)).toBe(0);
    expect(textOf(alone)).toContain("A run FD 3.000 . FD 3.000 Computing time 2.4 s Scores Lineage");
  });

  test("have a column for each measure that they name, and a key number", async () => {
    const { manifest } = fixture.score;
    const measures = { mind: { label: "M <b>IND", best: "lower" } };
    const groups = [{ name: "final", distance: 3, mind: 0.0625 }];
    const facts = { metric: "FD", groups, measures };
    const html = await pageOf({ score: { ...fixture.score, manifest: { ...manifest, facts } } });
    expect(html).not.toContain("<b>IND");
    expect(textOf(html)).toContain("M &lt;b&gt;IND 0.063");
    expect(textOf(html)).toContain("Group Step FD M &lt;b&gt;IND Samples final – 3.000 0.063 –");
  });
});

describe("the scores of the newest checkpoint", () => {
  const measures = { kid: { label: "KID", best: "lower", meaning: "What <it> tells." } };
  const facts = {
    ...{ metric: "FD", measures, groups: [{ name: "final", distance: 3, kid: 0.5 }] },
    spread: { sets: 4, samples: 64, mean: { distance: 3.5, kid: 0.25 }, std: { distance: 0.125, kid: 0.5 } },
    nfe: [
      { steps: 1, nfe: 4, samples: 64, distance: 30, kid: 5 },
      { steps: 8, nfe: 32, samples: 64, distance: 3, kid: 0.5 },
    ],
  };
  const scored = (changed: object = {}) =>
    pageOf({
      score: { ...fixture.score, manifest: { ...fixture.score.manifest, facts: { ...facts, ...changed } } },
    });

  test("have their spread over sets of seeds", async () => {
    const text = textOf(await scored());
    expect(text).toContain("Over 4 sets of 64 seeds the newest checkpoint has 3.500 ± 0.125");
    expect(text).toContain("4 sets of seeds – 3.500 ± 0.125 0.250 ± 0.500 64");
    expect(textOf(await scored({ spread: undefined }))).not.toContain("sets of");
  });

  test("stand and are drawn against network evaluations", async () => {
    const html = await scored();
    expect(html).toContain('id="plot-nfe"');
    expect(textOf(html)).toContain("Steps Network evaluations FD KID Samples 1 4 30.00 5.000 64 8 32 3.000 0.500 64");
    expect(await scored({ nfe: undefined })).not.toContain("plot-nfe");
  });

  test("say what other numbers tell", async () => {
    const html = await scored();
    expect(textOf(html)).toContain("What the other numbers tell KID What &lt;it&gt; tells. Lower is better.");
    expect(await scored({ measures: {} })).not.toContain("What the other numbers tell");
  });
});

describe("the curves", () => {
  test("are all losses on two scales, and what else was written down on its own", () => {
    const ids = [...page.matchAll(/<figure class="plot \w*" id="([^"]*)"/g)].map((match) => match[1]);
    expect(ids).toEqual([
      "plot-distance",
      "plot-precision",
      "train-losses",
      "train-learning-rate",
      "train-gradient-norm",
      "vae-losses",
      "vae-learning-rate",
      "net-losses",
      "net-accuracy",
    ]);
    const losses = page.slice(page.indexOf('id="train-losses"'), page.indexOf('id="train-learning-rate"'));
    expect(textOf(losses)).toMatch(/Losses of training .* log linear loss diffusion autoregressive/);
    // Two scales in two sizes, with three curves, each drawn smoothed and as it was written down.
    expect([count(losses, /class="curve s\d" d="M[^1]/g), count(losses, /class="raw s/g)]).toEqual([12, 12]);
    const drawn = (kind: string): string =>
      new RegExp(`class="${kind} s0" d="M([^"]+)"`).exec(losses.slice(losses.indexOf('role="img"')))?.[1] ?? "";
    expect(turns(drawn("raw"))).toBeGreaterThan(100);
    expect(turns(drawn("curve"))).toBeLessThan(50);
    expect(textOf(losses)).toMatch(
      /with weights that fall to 1\/e in 6 steps\. .* Loss goes from [\d.]+ to 0\.\d+, lowest/,
    );
    expect(textOf(page)).toContain("clean: 0 at every step, not drawn.");
    expect(count(page, /name="train-learning-rate-scale"/g)).toBe(0);
  });

  test("have no logarithmic axis where one of them has nothing above 0", async () => {
    const path = join(folder, "negative");
    await mkdir(path);
    await writeFile(join(path, "losses.jsonl"), '{"step":1,"loss":-1,"kl":1}\n{"step":2,"loss":-2,"kl":2}\n');
    const markup = await pageOf({ train: await openFolder(path) });
    expect(count(markup, /type="radio"/g)).toBe(0);
    expect(count(markup, /<svg\s+class="chart/g)).toBe(2);
  });

  test("of more losses than there are colours stand in several drawings", async () => {
    const path = join(folder, "many");
    await mkdir(path);
    const names = Array.from({ length: 8 }, (_, i) => `part${i}`);
    const row = (step: number) =>
      JSON.stringify({ step, ...Object.fromEntries(names.map((name) => [name, 1])), loss: 2 });
    await writeFile(join(path, "losses.jsonl"), `${row(1)}\n${row(2)}\n`);
    const text = textOf(await pageOf({ train: await openFolder(path) }));
    expect(text).toMatch(/Losses of training .* loss part0 part1 part2 part3 part4 .* continued .* part5 part6 part7/);
  });
});

describe("the lineage", () => {
  test("names digest, key, program and time of every stage, and what it was made from", () => {
    for (const [name, { digest, record }] of Object.entries(fixture) as [StageName, Artifact][]) {
      const card = page.slice(page.indexOf(`id="stage-${name}"`)).split("</li>\n        <li class")[0] ?? "";
      for (const each of [digest, record?.key, record?.program.sha256])
        expect(card).toContain(`title="${each ?? "?"}"`);
      expect(card).toContain(`${record?.finishedAt.slice(0, 19).replace("T", " ") ?? "?"} UTC`);
      for (const input of Object.values(record?.inputs ?? {})) expect(card).toContain(`title="${input.digest}"`);
    }
    expect(textOf(page)).toContain("Engine openvino, openvino==2026.4.1 2d22b1da03f7, float32, 2 threads");
    expect(textOf(page)).toContain("Here, all 16 such links lead to exactly the artifact with that digest.");
  });

  test("holds every value of every config", () => {
    const text = textOf(page).replaceAll("&quot;", '"');
    for (const { record } of Object.values(fixture))
      for (const [name, value] of flatten(record?.config)) expect(text).toContain(` ${name} ${value} `);
    expect(text).toContain("optimizer.learningRate 0.001");
  });

  test("warns at the top where artifacts of two runs are mixed", async () => {
    const other = await fixtureRun(join(folder, "other"), { steps: 200, samples: 2, examples: 5 });
    const mixed = await pageOf({ ...fixture, train: other.train });
    expect(textOf(mixed)).toContain("Export was made from another train than the one on this page");
    expect(mixed.indexOf("Not everything on this page belongs together")).toBeLessThan(mixed.indexOf("<main>"));
    expect(page).not.toContain("Not everything on this page");
    expect(textOf(mixed)).toContain("Of 16 such links here, 15 lead");
  });
});

describe("time and memory", () => {
  const rowOf = (html: string, title: string): string =>
    textOf(new RegExp(`<tr>\\s*<th scope="row">${title}</th>.*?</tr>`, "s").exec(html)?.[0] ?? "").trim();

  test("are told for every stage and together", () => {
    expect(rowOf(page, "Training")).toMatch(/^Training 5 min 42 s 2 2\.43 GiB [\d.]+ KiB 2026-11-25 07:27:26 UTC$/);
    expect(rowOf(page, "Together")).toMatch(/^Together 10 min 55 s 2\.43 GiB [\d.]+ MiB$/);
    expect(textOf(page)).toContain(
      "All stages ran on one kind of machine: AMD EPYC 9R14, 2 cores, linux-x64, Node 20.20.2.",
    );
    expect(page).not.toContain("reused");
  });

  test("say what was reused in the run that they name", async () => {
    const during = await pageOf(fixture, CONFIG, new Date(TODAY - 1000).toISOString());
    expect(textOf(during)).toContain(
      "In the run that began on 2026-11-25 07:19:59 UTC, 8 stages were computed and 4 reused from before.",
    );
    expect(rowOf(during, "Training")).toContain("computed");
    expect(rowOf(during, "Image shards")).toContain("reused");
    const before = await pageOf(fixture, CONFIG, new Date(YESTERDAY - 1000).toISOString());
    expect(textOf(before)).toContain("12 stages were computed and none reused");
  });

  test("name the machines where there are several", async () => {
    const { record } = fixture.vae;
    const moved = { ...fixture.vae, record: record && { ...record, machine: { ...record.machine, cpu: "Xeon" } } };
    const text = textOf(await pageOf({ ...fixture, vae: moved }));
    expect(text).not.toContain("All stages ran on one kind of machine");
    expect(text).toContain("Xeon, 2 cores");
  });
});

describe("what comes from data", () => {
  test("stays text, wherever it stands", async () => {
    const hostile = await fixtureRun(join(folder, "hostile"), {
      steps: 60,
      samples: 2,
      examples: 2,
      text: HOSTILE,
      metric: `FD ${HOSTILE}`,
    });
    const config = ReportConfig.parse({ title: HOSTILE, commands: `rm ${HOSTILE}` });
    const markup = await pageOf(hostile, config, new Date(TODAY).toISOString());
    expect(count(markup, /<script/g)).toBe(1);
    expect(count(markup, /<style/g)).toBe(1);
    expect(count(markup, /<title/g)).toBe(1);
    const tags = markup.replace(/"[^"]*"/g, '""').match(/<[^>]*>/g) ?? [];
    expect(tags.filter((tag) => /\son\w+=|src=x/.test(tag))).toEqual([]);
    const escaped = "&lt;/script&gt;&lt;/title&gt;&lt;/style&gt;&lt;script&gt;alert(1)";
    // title twice; a key in an alt; solver, metric, machine, package, config, group, source, command
    for (const before of [
      "<h1>",
      "<title>",
      "Image 00000/00000000",
      "dpm-solver++",
      ">FD ",
      "AMD EPYC 9R14",
      "zod@4.6.7",
      "<td>",
      "final",
      "drawn faces",
      "rm ",
    ])
      expect([before, markup.includes(before + escaped)]).toEqual([before, true]);
  });

  /** The fixture's scores under another name, from features of another network. */
  const named = (metric: string, network: string): { score: Artifact; features: Artifact } => {
    const said = (artifact: Artifact, facts: Record<string, string>): Artifact => ({
      ...artifact,
      manifest: { ...artifact.manifest, facts: { ...artifact.manifest.facts, ...facts } },
    });
    return { score: said(fixture.score, { metric }), features: said(fixture.features, { network }) };
  };

  test.each([
    ["FID", "faces-net"],
    ["FID-2k", "faces-net"],
    ["fid", "other"],
  ])("is not called %s where its features come from %s", async (metric, network) => {
    await expect(pageOf(named(metric, network))).rejects.toThrow(
      `Cannot report "${metric}": its features come from "${network}", expected "inception"`,
    );
  });

  test("is called FID where they come from Inception", async () => {
    const text = textOf(await pageOf(named("FID", "inception")));
    expect(text).toContain("from the Inception network of the FID");
    expect(text).not.toContain("This is not the FID");
    expect(textOf(page)).toContain("This is not the FID");
  });
});

describe("the stage", () => {
  const warnings: string[] = [];
  const log = { info: () => undefined, warn: (text: string) => void warnings.push(text), progress: () => undefined };
  const context = async (name: string) => {
    const out = join(folder, name);
    await mkdir(join(out, "tmp"), { recursive: true });
    return { out, files: await StageFiles.open(out), signal: new AbortController().signal, log };
  };
  const before = process.env[RUN_STARTED];
  beforeEach(() => (warnings.length = 0));
  afterEach(() => {
    if (before === undefined) delete process.env[RUN_STARTED];
    else process.env[RUN_STARTED] = before;
  });

  test("writes one file, and says in its facts what it is about", async () => {
    delete process.env[RUN_STARTED];
    const facts = await reportStage.run(CONFIG, fixture, await context("out"));
    expect((await readdir(join(folder, "out"))).filter((name) => !["tmp", "logs"].includes(name))).toEqual([
      "index.html",
    ]);
    expect(await readFile(join(folder, "out", "index.html"), "utf8")).toBe(page);
    const { final } = fixture.score.manifest.facts as { final: number };
    expect(facts).toEqual({
      title: "A run",
      stages: Object.keys(INPUTS),
      problems: [],
      metric: "FD (faces-net)",
      score: final,
    });
    expect(warnings).toEqual([]);
  });

  test("takes from the environment when the run began, and says nothing about reuse if that is no time", async () => {
    process.env[RUN_STARTED] = new Date(TODAY).toISOString();
    await reportStage.run(CONFIG, { ...NONE, vae: fixture.vae }, await context("during"));
    expect(await readFile(join(folder, "during", "index.html"), "utf8")).toContain("1 stage was computed");
    process.env[RUN_STARTED] = "yesterday";
    await reportStage.run(CONFIG, { ...NONE, vae: fixture.vae }, await context("unknown"));
    expect(await readFile(join(folder, "unknown", "index.html"), "utf8")).not.toContain("computed and");
    expect(warnings).toEqual([
      'The page says nothing about reuse: MADFORMER_RUN_STARTED is "yesterday", expected an ISO time',
    ]);
  });

  test("warns of artifacts that do not belong together", async () => {
    const { record } = fixture.latents;
    const inputs = { shards: { stage: "shards", digest: "0".repeat(64) } };
    const strange = { ...fixture.latents, record: record && { ...record, inputs } };
    const facts = await reportStage.run(
      CONFIG,
      { ...NONE, shards: fixture.shards, latents: strange },
      await context("strange"),
    );
    expect(warnings).toEqual([
      'Latents was made from another shards than the one on this page: 000000000000, recorded as its input "shards"',
    ]);
    expect(facts["problems"]).toEqual(warnings);
  });

  test("needs something to be about", async () => {
    await expect(reportStage.run(CONFIG, NONE, await context("nothing"))).rejects.toThrow(
      "Cannot write a report about nothing: expected at least one of dataset, shards, ",
    );
    await expect(reportStage.run(CONFIG, NONE, await context("nothing"))).rejects.toBeInstanceOf(DataError);
  });

  test("stops when it is told to", async () => {
    const signal = AbortSignal.abort(new Error("stop"));
    await expect(reportStage.run(CONFIG, fixture, { ...(await context("stopped")), signal })).rejects.toThrow("stop");
  });
});

test("spread() takes the first and the last, and the others evenly", () => {
  const items = Array.from({ length: 11 }, (_, i) => i);
  expect(spread(items, 3)).toEqual([0, 5, 10]);
  expect(spread(items, 2)).toEqual([0, 10]);
  expect(spread(items, 11)).toEqual(items);
});

test("flatten() gives leaves dotted names and keeps plain lists on one line", () => {
  expect(flatten({ a: { b: 1, c: [] }, d: [1, "x"], e: [{ f: null }], g: "", h: {} })).toEqual([
    ["a.b", "1"],
    ["a.c", "[]"],
    ["d", '[1,"x"]'],
    ["e.0.f", "null"],
    ["g", '""'],
    ["h", "{}"],
  ]);
  expect(flatten({})).toEqual([]);
  expect(flatten("x")).toEqual([["value", "x"]]);
});

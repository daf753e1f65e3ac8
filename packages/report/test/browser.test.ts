/**
 * The page in a browser. Needs Chromium: `CHROMIUM_PATH`, or chromium, chromium-browser or google-chrome on `PATH`.
 * `MADFORMER_SCREENSHOTS=folder` keeps pictures of the whole page there, to be looked at.
 */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { readRun, renderPage, ReportConfig } from "@madformer/report";
import { chromium, type Browser, type Page } from "playwright-core";
import { findChromium } from "./fixture/chromium.js";
import { fixtureRun, TODAY } from "./fixture/run.js";

const executablePath = findChromium();
const SKIPPED = "skipped, no Chromium on PATH or in CHROMIUM_PATH";
if (executablePath === undefined) process.stderr.write(`browser.test.ts: ${SKIPPED}\n`);
const inBrowser = executablePath === undefined ? describe.skip : describe;

const HOSTILE = `"'><img src=x onerror="document.title='hurt'"><script>document.title='hurt'</script>`;
const VIEWS = [
  ["light", 1280],
  ["dark", 1280],
  ["light", 360],
  ["dark", 360],
] as const;

inBrowser(`the page in Chromium${executablePath === undefined ? `: ${SKIPPED}` : ""}`, () => {
  let folder: string;
  let browser: Browser;

  /** Writes a page about a run. */
  async function write(name: string, text: string, title: string): Promise<string> {
    const config = ReportConfig.parse({ title });
    const run = await readRun(await fixtureRun(join(folder, name), { steps: 1200, text }), config);
    const path = join(folder, `${name}.html`);
    await writeFile(path, renderPage(run, config, new Date(TODAY - 2000).toISOString()));
    return pathToFileURL(path).href;
  }

  /** Opens a page; `heard` is all that it said or asked for. */
  async function open(
    url: string,
    colorScheme: "light" | "dark",
    width: number,
  ): Promise<{ page: Page; heard: string[] }> {
    const context = await browser.newContext({
      colorScheme,
      viewport: { width, height: width < 500 ? 740 : 900 },
      deviceScaleFactor: width < 500 ? 2 : 1,
    });
    const page = await context.newPage();
    const heard: string[] = [];
    page.on("console", (message) => heard.push(`${message.type()}: ${message.text()}`));
    page.on("pageerror", (error) => heard.push(`error: ${error.message}`));
    page.on("request", (request) => {
      if (request.url() !== url && !request.url().startsWith("data:")) heard.push(`request: ${request.url()}`);
    });
    await page.goto(url);
    await page.waitForLoadState("networkidle");
    return { page, heard };
  }

  let normal: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "report-"));
    // Chromium's own sandbox refuses to run as root, as in containers.
    const args = process.getuid?.() === 0 ? ["--no-sandbox"] : [];
    browser = await chromium.launch({ executablePath: executablePath ?? "", args });
    normal = await write("normal", "", "Drawn faces, 64 pixels");
  });
  afterAll(async () => {
    await browser.close();
    await rm(folder, { recursive: true });
  });

  test.each(VIEWS)("is complete and silent in %s, %i pixels wide", async (scheme, width) => {
    const { page, heard } = await open(normal, scheme, width);
    expect(heard).toEqual([]);
    expect(await page.title()).toBe("Drawn faces, 64 pixels");
    expect(await page.locator("h1").count()).toBe(1);
    expect(await page.locator("h2").allInnerTexts()).toEqual([
      "Samples",
      "Classes",
      "Block by block",
      "Scores",
      "Training",
      "Data",
      "Codec",
      "Feature network",
      "Lineage",
      "Time and memory",
      "How to reproduce it",
    ]);
    const images = await page.evaluate<[decoded: number, all: number]>(
      "Promise.all([...document.images].map((i) => i.decode().then(() => i.naturalWidth > 0, () => false))).then((ok) => [ok.filter(Boolean).length, ok.length])",
    );
    expect(images).toEqual([76, 76]);

    const overflow = await page.evaluate<number>(
      "document.documentElement.scrollWidth - document.documentElement.clientWidth",
    );
    expect(overflow).toBe(0);
    // Of each chart either the drawing for desks or the one for phones is seen, and of two scales one.
    const charts = page.locator("figure.plot");
    for (let i = 0; i < (await charts.count()); i++)
      expect(await charts.nth(i).locator("svg.chart").filter({ visible: true }).count()).toBe(1);
    const paper = await page.evaluate<string>("getComputedStyle(document.body).backgroundColor");
    expect(paper).toBe(scheme === "light" ? "rgb(252, 251, 249)" : "rgb(21, 22, 26)");

    const { MADFORMER_SCREENSHOTS: shots } = process.env;
    if (shots) {
      await mkdir(shots, { recursive: true });
      await page.screenshot({ path: join(shots, `report-${scheme}-${width}.png`), fullPage: true });
    }
    await page.context().close();
  });

  test.each([1280, 360])("enlarges samples by whole numbers of the screen's pixels, %i wide", async (width) => {
    const { page } = await open(normal, "light", width);
    const factors = await page.evaluate<number[]>(
      "[...document.querySelectorAll('.tiles img, .strip img')].map((i) => i.getBoundingClientRect().width * devicePixelRatio / i.naturalWidth)",
    );
    expect(factors).toHaveLength(72);
    for (const factor of factors) expect(Number.isInteger(factor) && factor >= 1).toBe(true);
    await page.context().close();
  });

  test("changes scales, opens what is closed, and copies digests", async () => {
    const { page, heard } = await open(normal, "light", 1280);
    await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
    const plot = page.locator("#train-losses");
    expect(await plot.locator("svg.log.at-desk").isVisible()).toBe(true);
    await plot.getByText("linear", { exact: true }).click();
    expect(await plot.locator("svg.log.at-desk").isVisible()).toBe(false);
    expect(await plot.locator("svg.linear.at-desk").isVisible()).toBe(true);

    const value = page.getByText("optimizer.learningRate");
    expect(await value.isVisible()).toBe(false);
    await page.getByRole("button", { name: "Open all" }).click();
    expect(await value.isVisible()).toBe(true);
    const overflow = await page.evaluate<number>(
      "document.documentElement.scrollWidth - document.documentElement.clientWidth",
    );
    expect(overflow).toBe(0);

    const digest = page.locator("#stage-score code.digest").first();
    await digest.getByRole("button").click();
    await digest.locator("button[data-copied]").waitFor();
    expect(await page.evaluate<string>("navigator.clipboard.readText()")).toBe(await digest.getAttribute("title"));
    expect(heard).toEqual([]);
    await page.context().close();
  });

  test("is complete without its script", async () => {
    const context = await browser.newContext({ javaScriptEnabled: false });
    const page = await context.newPage();
    await page.goto(normal);
    await page.locator("#train-losses").getByText("linear", { exact: true }).click();
    expect(await page.locator("#train-losses svg.linear.at-desk").isVisible()).toBe(true);
    expect(await page.locator("#open-all").isVisible()).toBe(false);
    await page.locator("#stage-train summary").first().click();
    expect(await page.getByText("optimizer.learningRate").isVisible()).toBe(true);
    await context.close();
  });

  test("shows markup in data as text, on a phone too", async () => {
    const url = await write("hostile", HOSTILE, `Title ${HOSTILE}`);
    const { page, heard } = await open(url, "light", 360);
    await page.getByRole("button", { name: "Open all" }).click();
    expect(await page.title()).toBe(`Title ${HOSTILE}`);
    expect(await page.locator("script").count()).toBe(1);
    expect(await page.locator("[onerror]").count()).toBe(0);
    expect(await page.locator("h1").innerText()).toBe(`Title ${HOSTILE}`);
    const overflow = await page.evaluate<number>(
      "document.documentElement.scrollWidth - document.documentElement.clientWidth",
    );
    expect(overflow).toBe(0);
    expect(heard).toEqual([]);
    await page.context().close();
  });
});

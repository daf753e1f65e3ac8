/**
 * One step of `check.sh`, in a process of its own: `node steps.mjs NAME tiny|full`. Each finding is a line of JSON on
 * stdout, as soon as it is there, so that a step that is stopped leaves what it found. Exit code 1: a check failed.
 */

/**
 * @typedef {{ what: string, value: number | string, unit?: string, ok?: boolean }} Finding
 * @typedef {"tiny" | "full"} Size
 * @typedef {(size: Size, tell: (finding: Finding) => void) => Promise<void>} Step
 *
 * @typedef {object} Parts The modules of benches that the bundle is made of.
 * @property {Record<"versions" | "product" | "attentions" | "convolution" | "donation" | "reload", Step> & {
 *   values(count: number, scale: number, seed?: number): Float32Array;
 *   secondsOf(run: () => Promise<unknown>, runs: number): Promise<number>;
 *   flopsOf(graph: unknown): number;
 *   peakGib(): number | undefined;
 *   bytesOf(memory: unknown): number | undefined;
 *   executableOf(program: object): { memory(): unknown };
 * }} engine
 * @property {Record<"training" | "sampling", (size: Size, batch: number, tools: object) => Promise<void>>} model
 * @property {(tell: (finding: Finding) => void) => Promise<void>} golden
 */

/** @param {Parts} parts */
export async function runStep({ engine, model, golden }) {
  const [name = "", asked] = process.argv.slice(2);
  const size = asked === "tiny" ? "tiny" : "full";
  let failed = false;
  const tell = (/** @type {Finding} */ finding) => {
    failed ||= finding.ok === false;
    console.log(JSON.stringify(finding));
  };
  const { values, secondsOf, flopsOf, peakGib } = engine;
  const bytesOf = (/** @type {object} */ program) => engine.bytesOf(engine.executableOf(program).memory());
  const tools = { tell, values, secondsOf, flopsOf, peakGib, bytesOf };
  /** @type {Record<string, () => Promise<void>>} */
  const steps = {
    versions: () => engine.versions(size, tell),
    product: () => engine.product(size, tell),
    attention: () => engine.attentions(size, tell),
    convolution: () => engine.convolution(size, tell),
    donation: () => engine.donation(size, tell),
    reload: () => engine.reload(size, tell),
    golden: () => golden(tell),
    "train-1": () => model.training(size, 1, tools),
    "train-4": () => model.training(size, 4, tools),
    "sample-1": () => model.sampling(size, 1, tools),
    "sample-4": () => model.sampling(size, 4, tools),
  };
  const step = steps[name];
  if (step === undefined) {
    console.error(`Cannot run the step "${name}", expected one of: ${Object.keys(steps).join(", ")}`);
    process.exit(2);
  }
  try {
    await step();
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    failed = true;
  }
  process.exit(failed ? 1 : 0);
}

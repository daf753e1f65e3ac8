/** What Nx makes of this workspace's pipelines: the graph it draws, and what it takes for affected. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { readPipelineFile } from "../../packages/stage/plain/pipeline-file.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));
/** @type {string} */
let scratch;
beforeAll(() => {
  scratch = mkdtempSync(path.join(tmpdir(), "graph-"));
});
afterAll(() => rmSync(scratch, { recursive: true }));

/**
 * Runs Nx by itself, whoever runs this test: without the variables of another Nx, and with its own notes. @param
 * {string[]} args
 */
function nx(...args) {
  const others = Object.entries(process.env).filter(([name]) => !name.startsWith("NX_"));
  const env = {
    ...Object.fromEntries(others),
    NX_DAEMON: "false",
    NX_WORKSPACE_DATA_DIRECTORY: path.join(scratch, "data"),
    NX_CACHE_DIRECTORY: path.join(scratch, "cache"),
  };
  const words = ["--no-warnings", "node_modules/.bin/nx", ...args];
  return execFileSync(process.execPath, words, { cwd: root, env, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

/** Stages of smoke that Nx takes for affected by a change of a file. @param {string} file */
function affectedBy(file) {
  const names = /** @type {string[]} */ (JSON.parse(nx("show", "projects", "--affected", `--files=${file}`, "--json")));
  return names.flatMap((name) => /^smoke-(.*)$/.exec(name)?.[1] ?? []).sort();
}

const smoke = readPipelineFile(path.join(root, "pipelines/smoke"));

test("nx graph draws an edge from each stage to those that it needs, and to the package of its function", () => {
  const file = path.join(scratch, "graph.json");
  nx("graph", `--file=${file}`);
  const { graph } = JSON.parse(readFileSync(file, "utf8"));
  /** @param {string} name @returns {string[]} */
  const edges = (name) => graph.dependencies[name].map((/** @type {{ target: string }} */ { target }) => target).sort();
  expect(edges("smoke-score")).toEqual(["@madformer/fid", "@madformer/stage", "smoke-features", "smoke-features-data"]);
  for (const { name, needs } of smoke.stages) {
    const expected = [...new Set(Object.values(needs))].map((need) => `smoke-${need}`).sort();
    expect(edges(`smoke-${name}`).filter((target) => target.startsWith("smoke-"))).toEqual(expected);
    expect(Object.keys(graph.nodes[`smoke-${name}`].data.targets)).toEqual([name]);
  }
}, 120_000);

test("nx affected takes the stages whose pipeline or code changed, and those after them", () => {
  expect(affectedBy("pipelines/smoke/pipeline.json")).toEqual(smoke.stages.map(({ name }) => name).sort());
  expect(affectedBy("packages/sample/src/sample.ts")).toEqual(["features", "report", "sample", "score"]);
  expect(affectedBy("packages/report/src/run.ts")).toEqual(["report"]);
  expect(affectedBy("pipelines/faces-64/pipeline.json")).toEqual([]);
}, 240_000);

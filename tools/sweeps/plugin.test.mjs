import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { jest } from "@jest/globals";
import { createNodesV2 } from "./plugin.mjs";

/** @type {string} */
let root;
beforeEach(() => {
  root = mkdtempSync(path.join(tmpdir(), "sweeps-"));
  mkdirSync(path.join(root, "sweeps"));
});
afterEach(() => {
  rmSync(root, { recursive: true });
  jest.restoreAllMocks();
});

/** @param {Record<string, unknown>} sweeps Name -> what its file holds. */
async function projectsOf(sweeps) {
  const warnings = jest.spyOn(console, "error").mockImplementation(() => {});
  const files = Object.entries(sweeps).map(([name, value]) => {
    writeFileSync(path.join(root, `sweeps/${name}.json`), JSON.stringify(value));
    return `sweeps/${name}.json`;
  });
  const [, createNodes] = createNodesV2;
  const results = await createNodes(files, undefined, /** @type {any} */ ({ workspaceRoot: root }));
  const projects = results.flatMap(([, { projects = {} }]) => Object.values(projects));
  return { projects, warned: warnings.mock.calls.map(([message]) => String(message)) };
}

test("a sweep is a project, each of its points a target with one command, which finds its names in the environment", async () => {
  const hostile = "$(touch /tmp/x); ';";
  const { projects, warned } = await projectsOf({
    steps: { pipeline: "smoke", axes: { "sample.steps": [1, 2], "sample.name": [hostile] } },
  });
  expect(warned).toEqual([]);
  expect(projects).toMatchObject([
    { name: "sweep.steps", root: "sweeps/steps", implicitDependencies: ["@madformer/cli"] },
  ]);
  const targets = projects[0]?.targets ?? {};
  expect(Object.keys(targets)).toEqual(["all", "steps-1", "steps-2"]);
  expect(targets["steps-2"]).toMatchObject({
    cache: false,
    options: {
      command: "node --no-warnings tools/sweeps/sweep.mjs",
      env: { MADFORMER_SWEEP: "steps", MADFORMER_POINT: "steps-2" },
    },
  });
  expect(JSON.stringify(targets)).not.toContain("touch");
});

test("a sweep that cannot be used breaks its own points alone", async () => {
  const { projects, warned } = await projectsOf({
    bad: { pipeline: "../x", axes: {} },
    good: { pipeline: "smoke", axes: { "sample.steps": [1] } },
  });
  expect(projects.map(({ name }) => name)).toEqual(["sweep.good"]);
  expect(warned).toEqual([
    expect.stringMatching(/^Warning: the points of this sweep cannot run\. Cannot use .*bad\.json/),
  ]);
});

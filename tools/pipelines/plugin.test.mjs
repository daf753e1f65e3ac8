import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { jest } from "@jest/globals";
import { createNodesV2 } from "./plugin.mjs";

/** @type {string} */
let root;
beforeEach(() => {
  root = mkdtempSync(path.join(tmpdir(), "plugin-"));
  mkdirSync(path.join(root, "packages/a"), { recursive: true });
  const manifest = { name: "@madformer/a", madformer: { stages: { x: "src/x.ts", y: "src/y.ts" } } };
  writeFileSync(path.join(root, "packages/a/package.json"), JSON.stringify(manifest));
});
afterEach(() => {
  rmSync(root, { recursive: true });
  jest.restoreAllMocks();
});

/**
 * The projects that the plugin makes of pipelines, by name, and what it warns of.
 *
 * @param {Record<string, unknown>} pipelines Folder -> what its pipeline.json holds.
 */
async function projectsOf(pipelines) {
  const warnings = jest.spyOn(console, "error").mockImplementation(() => {});
  const files = Object.entries(pipelines).map(([name, value]) => {
    mkdirSync(path.join(root, "pipelines", name), { recursive: true });
    const file = `pipelines/${name}/pipeline.json`;
    writeFileSync(path.join(root, file), typeof value === "string" ? value : JSON.stringify(value));
    return file;
  });
  const [, createNodes] = createNodesV2;
  const results = await createNodes(files, undefined, /** @type {any} */ ({ workspaceRoot: root }));
  const projects = results.flatMap(([, { projects = {} }]) => Object.values(projects));
  return {
    projects: Object.fromEntries(projects.map(({ name = "", targets = {} }) => [name, targets])),
    edges: Object.fromEntries(projects.map(({ name = "", implicitDependencies = [] }) => [name, implicitDependencies])),
    warned: warnings.mock.calls.map(([message]) => String(message)),
  };
}

describe("the plugin", () => {
  test("makes a project of each stage, which waits for what it needs and for its bundle, and is not cached", async () => {
    const { projects, warned } = await projectsOf({ p: { x: {}, z: { uses: "y", needs: ["x"] } } });
    expect(Object.keys(projects)).toEqual(["p-x", "p-z"]);
    expect(projects["p-z"]?.["z"]).toMatchObject({
      cache: false,
      dependsOn: [
        { projects: ["p-x"], target: "x" },
        { projects: ["@madformer/a", "@madformer/stage"], target: "bundle" },
      ],
    });
    expect(warned).toEqual([]);
  });

  test("draws edges to the stages before, once each, and to packages; the pipeline's file is an input", async () => {
    const { projects, edges } = await projectsOf({
      p: { x: {}, y: { needs: { a: "x", b: "x" } }, z: { uses: "y", needs: ["x", "y"] } },
    });
    const packages = ["@madformer/a", "@madformer/stage"];
    expect(edges).toEqual({
      "p-x": packages,
      "p-y": ["p-x", ...packages],
      "p-z": ["p-x", "p-y", ...packages],
    });
    const inputs = projects["p-z"]?.["z"]?.inputs;
    expect(inputs).toContain("{workspaceRoot}/pipelines/p/pipeline.json");
    const variables = [
      "MADFORMER_ENGINE",
      "MADFORMER_PRECISION",
      "MADFORMER_THREADS",
      "MADFORMER_ENGINES",
      "MADFORMER_PJRT_PLUGIN",
    ];
    expect(inputs).toEqual(expect.arrayContaining(variables.map((env) => ({ env }))));
    expect(inputs).toContainEqual({ runtime: "node tools/pipelines/engines.mjs" });
  });

  test("puts no word of a file into a command", async () => {
    const { projects } = await projectsOf({ p: { x: {} }, q: { x: { uses: "y" } } });
    const [a, b] = [projects["p-x"]?.["x"]?.options, projects["q-x"]?.["x"]?.options];
    expect(a.command).toBe(b.command);
    expect(a.env).toEqual({ MADFORMER_PIPELINE: "p", MADFORMER_STAGE: "x" });
  });

  test.each([
    ["a name for a shell", { "x;touch y;#": { uses: "x" } }, /"x;touch y;#": that is no name/],
    ["a substitution", { "$(touch y)": { uses: "x" } }, /that is no name/],
    ["a path", { "../../../../victim": { uses: "x" } }, /that is no name/],
    ["null", "null", /it holds null/],
    ["a null entry", { x: null }, /stage "x": it is null/],
    ["null needs", { x: { needs: null } }, /"needs" is null/],
    ["a condition without if", { x: {}, y: { needs: { a: { stage: "x" } } } }, /expected \{ "stage"/],
    ["no JSON", "{", /it is no JSON/],
    ["a stage function that every object has", { constructor: {} }, /no package has a stage "constructor"/],
  ])("lets %s break its own pipeline alone, and says why", async (_, value, message) => {
    const { projects, warned } = await projectsOf({ bad: value, good: { x: {} } });
    expect(Object.keys(projects)).toEqual(["good-x"]);
    expect(warned).toEqual([expect.stringMatching(message)]);
    expect(warned[0]).toContain("pipelines/bad/pipeline.json");
  });

  test("takes a byte order mark and a stage named constructor", async () => {
    const { projects } = await projectsOf({ p: `\uFEFF${JSON.stringify({ constructor: { uses: "x" } })}` });
    expect(Object.keys(projects)).toEqual(["p-constructor"]);
  });

  test("leaves out a pipeline whose folder has no name, and one whose projects would be called like another's", async () => {
    const { projects, warned } = await projectsOf({ "a b": { x: {} }, "a-x": { y: {} }, a: { "x-y": { uses: "x" } } });
    expect(Object.keys(projects)).toEqual(["a-x-y"]);
    expect(warned).toEqual([
      expect.stringMatching(/its folder is called "a b"/),
      expect.stringMatching(/pipelines\/a\/pipeline.json: another pipeline has a project "a-x-y"/),
    ]);
  });
});

import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { RuleTester } from "eslint";
import tseslint from "typescript-eslint";
import { importDirections, MAY_IMPORT } from "./import-directions.mjs";

// A workspace with every planned package, whether or not it exists yet; each declares all that it may import, and zod.
const root = mkdtempSync(path.join(tmpdir(), "import-directions-"));
writeManifest(".", { devDependencies: { "@jest/globals": "1.0.0" } });
for (const [name, allowed] of Object.entries(MAY_IMPORT)) {
  const dependencies = Object.fromEntries([...allowed.map((to) => `@madformer/${to}`), "zod"].map((to) => [to, "*"]));
  writeManifest(`packages/${name}`, {
    name: `@madformer/${name}`,
    dependencies,
    devDependencies: { "fast-check": "*" },
  });
}
afterAll(() => rmSync(root, { recursive: true }));

/**
 * @param {string} dir
 * @param {object} manifest
 */
function writeManifest(dir, manifest) {
  mkdirSync(path.join(root, dir), { recursive: true });
  writeFileSync(path.join(root, dir, "package.json"), JSON.stringify(manifest));
}

/**
 * @param {string} file
 * @param {string} code
 */
const valid = (file, code) => ({ code, filename: path.join(root, file), options: [{ root }] });

/**
 * @param {string} file
 * @param {string} code
 * @param {string} messageId
 */
const invalid = (file, code, messageId) => ({ ...valid(file, code), errors: [{ messageId }] });

const tester = new RuleTester({ languageOptions: { parser: /** @type {any} */ (tseslint.parser) } });

tester.run("import-directions", importDirections, {
  valid: [
    valid("packages/model/src/a.ts", 'import { compile } from "@madformer/engine";'),
    valid("packages/model/src/a.ts", 'import { trainStep } from "@madformer/optim";'),
    valid("packages/train/src/a.ts", 'import "@madformer/model"; import "@madformer/artifacts";'),
    valid("packages/fid/src/a.ts", 'import "@madformer/engine"; import "@madformer/artifacts";'),
    valid("pipelines/smoke/run.ts", 'import { runTrain } from "@madformer/train";'),

    valid("packages/engine/src/graph/a.ts", 'import { b } from "../b.js"; import fs from "node:fs"; import "zod";'),
    valid("packages/engine/src/a.test.ts", 'import { h } from "../test/helpers.js"; import "fast-check";'),
    valid("packages/engine/test/a.ts", 'import { a } from "@madformer/engine"; import { jest } from "@jest/globals";'),
    valid("packages/engine/bench/main.ts", 'import { h } from "../test/helpers.js"; import { a } from "../src/a.js";'),
    valid("packages/engine/src/a.ts", "export const a = await import(name);"),
    valid("packages/engine/src/backends/a/b/c.ts", 'import "../d.js"; import "./e.js"; import "../../../ir/graph.js";'),
    valid("packages/engine/src/engines.ts", 'import "./backends/a/index.js"; import "./backends/b/index.js";'),
    valid("packages/engine/test/a.test.ts", 'import "../src/backends/a/b.js";'),
    valid("packages/engine/src/backends/a/b.test.ts", 'import "../c/d.js";'),
    valid("tools/a.mjs", 'import "../packages/engine/src/index.js";'),
  ],
  invalid: [
    invalid("packages/engine/src/a.ts", 'import { forward } from "@madformer/model";', "direction"),
    invalid("packages/artifacts/src/a.ts", 'import "@madformer/engine";', "direction"),
    invalid("packages/model/src/a.ts", 'import "@madformer/artifacts";', "direction"),
    invalid("packages/optim/src/a.ts", 'import { forward } from "@madformer/model";', "direction"),
    invalid("packages/fid/src/a.ts", 'import "@madformer/sample";', "direction"),
    invalid("packages/fid/src/a.ts", 'import "@madformer/model";', "direction"),
    invalid("packages/sample/src/a.ts", 'import "@madformer/train";', "direction"),
    invalid("packages/sample/test/a.test.ts", 'import "@madformer/train";', "direction"),
    invalid("pipelines/smoke/run.ts", 'import "@madformer/engine";', "direction"),
    invalid("packages/model/src/a.ts", 'import "@madformer/unheard-of";', "direction"),

    // every way to name a module
    invalid("packages/engine/src/a.ts", 'import type { Model } from "@madformer/model";', "direction"),
    invalid("packages/engine/src/a.ts", 'export { forward } from "@madformer/model";', "direction"),
    invalid("packages/engine/src/a.ts", 'export * from "@madformer/model";', "direction"),
    invalid("packages/engine/src/a.ts", 'await import("@madformer/model");', "direction"),
    invalid("packages/engine/src/a.ts", "await import(`@madformer/model`);", "direction"),
    invalid("packages/engine/src/a.ts", 'require("@madformer/model");', "direction"),
    invalid("packages/engine/src/a.ts", 'type M = import("@madformer/model").Model;', "direction"),
    invalid("packages/engine/src/a.ts", 'import model = require("@madformer/model");', "direction"),

    invalid("packages/model/src/a.ts", 'import "@madformer/engine/src/graph.js";', "deep"),
    invalid("packages/engine/test/a.ts", 'import "@madformer/engine/dist/graph.js";', "deep"),
    invalid("packages/engine/src/a.ts", 'import "@madformer/engine";', "self"),
    invalid("packages/model/src/a.ts", 'import "../../engine/src/index.js";', "leaves"),
    invalid("packages/model/test/a.ts", 'import "../../engine/test/helpers.js";', "leaves"),
    invalid("packages/model/src/a.ts", 'import "../../../tools/bench.mjs";', "leaves"),
    invalid("packages/model/src/a.ts", 'import "/etc/model.js";', "leaves"),
    invalid("pipelines/smoke/run.ts", 'import "../faces-64/run.js";', "leaves"),
    invalid("packages/engine/src/backends/a/b.ts", 'import "../c/index.js";', "backend"),
    invalid("packages/engine/src/backends/a/b/c.ts", 'import type { D } from "../../d/e.js";', "backend"),
    invalid("packages/engine/src/program.ts", 'import "./backends/a/index.js";', "neutral"),
    invalid("packages/engine/src/passes/simplify.ts", 'import "../backends/a/b.js";', "neutral"),
    invalid("packages/engine/src/a.ts", 'import "../test/helpers.js";', "testCode"),
    invalid("packages/engine/src/a.ts", 'import "./b.test.js";', "testCode"),
    invalid("packages/engine/src/a.ts", 'import "fast-check";', "undeclared"),
    invalid("packages/engine/test/a.ts", 'import "@swc/core/binding.js";', "undeclared"),
    invalid("packages/rogue/src/a.ts", "export const a = 1;", "unlisted"),
  ],
});

describe("MAY_IMPORT", () => {
  test("lists every package of the workspace", () => {
    const packages = readdirSync(new URL("../../packages", import.meta.url));
    expect(packages.filter((name) => !(name in MAY_IMPORT))).toEqual([]);
  });

  test("has no cycle, so that every package builds alone", () => {
    /** @type {(name: string, above: string[]) => void} */
    const visit = (name, above) => {
      expect(above).not.toContain(name);
      for (const to of MAY_IMPORT[name] ?? []) visit(to, [...above, name]);
    };
    for (const name of Object.keys(MAY_IMPORT)) visit(name, []);
  });
});

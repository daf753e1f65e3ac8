import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { freshBundles, makeBundles } from "./bundles.mjs";

/** @type {string} */
let root;
const at = (/** @type {string[]} */ ...names) => path.join(root, ...names);
/** @param {string} file @param {string} text */
function write(file, text) {
  mkdirSync(path.dirname(at(file)), { recursive: true });
  writeFileSync(at(file), text);
  // Older than what is bundled from it, as what people edit is: else it is bundled again, to be sure.
  utimesSync(at(file), new Date("2026-01-01"), new Date("2026-01-01"));
}
const HELPER = "packages/a/src/helper.ts";

beforeEach(async () => {
  root = mkdtempSync(path.join(tmpdir(), "bundles-"));
  mkdirSync(at("tools/pipelines"), { recursive: true });
  const manifest = { name: "@madformer/a", dependencies: { dep: "1.0.0" }, madformer: { stages: { x: "src/x.ts" } } };
  write("packages/a/package.json", JSON.stringify(manifest));
  write(
    "packages/a/src/x.ts",
    'import { two } from "./helper.js";\nimport dep from "dep";\nexport const stage = [two, dep];\n',
  );
  write(HELPER, "export const two = 2;\nexport const unused = 3;\n");
  write("node_modules/dep/package.json", '{"version":"1.0.0"}');
  await new Promise((resolve) => setTimeout(resolve, 60)); // times of inodes cannot be set back
});
afterEach(() => rmSync(root, { recursive: true }));

const bundle = () => readFileSync(at("packages/a/bundle/x.mjs"), "utf8");

describe("makeBundles()", () => {
  test("bundles a package's stages, and names what stays outside", async () => {
    const made = await makeBundles(root, "packages/a");
    expect([...made.keys()]).toEqual(["x"]);
    expect(bundle()).toMatch(/^\/\/ externals: dep@1\.0\.0\n/);
    expect(bundle()).toContain("two = 2");
    expect(bundle()).not.toContain("unused");
    expect(freshBundles(root, "packages/a")).toEqual(made);
  });

  test.each([
    ["a source", () => write(HELPER, "export const two = 22;\n"), "two = 22"],
    ["a version of npm's", () => write("node_modules/dep/package.json", '{"version":"1.0.1"}'), "dep@1.0.1"],
    [
      "the bundle",
      () => writeFileSync(at("packages/a/bundle/x.mjs"), bundle().replace("two = 2", "two = 3")),
      "two = 2;",
    ],
    ["the bundle's place", () => rmSync(at("packages/a/bundle"), { recursive: true }), "two = 2;"],
    ["the list", () => writeFileSync(at("packages/a/bundle/bundles.json"), "{"), "two = 2;"],
    [
      "the bundle, by a folder",
      () => {
        rmSync(at("packages/a/bundle/x.mjs"));
        mkdirSync(at("packages/a/bundle/x.mjs/y"), { recursive: true });
      },
      "two = 2;",
    ],
  ])("sees that something changed %s, and makes them again", async (_, change, expected) => {
    await makeBundles(root, "packages/a");
    change();
    expect(freshBundles(root, "packages/a")).toBeUndefined();
    await makeBundles(root, "packages/a");
    expect(bundle()).toContain(expected);
    expect(freshBundles(root, "packages/a")).toBeDefined();
  });

  test("keeps a bundle when a source was touched and says the same", async () => {
    const made = await makeBundles(root, "packages/a");
    utimesSync(at(HELPER), new Date(), new Date());
    expect(freshBundles(root, "packages/a")).toEqual(made);
  });

  test("gives an equal bundle for other words in comments", async () => {
    const made = await makeBundles(root, "packages/a");
    write(HELPER, "// Reworded.\nexport const two = 2;\nexport const unused = 3;\n");
    expect(freshBundles(root, "packages/a")).toBeUndefined();
    expect(await makeBundles(root, "packages/a")).toEqual(made);
  });

  test("removes the bundle of a stage that is gone", async () => {
    await makeBundles(root, "packages/a");
    const manifest = { name: "@madformer/a", dependencies: { dep: "1.0.0" }, madformer: { stages: { y: "src/x.ts" } } };
    write("packages/a/package.json", JSON.stringify(manifest));
    await makeBundles(root, "packages/a");
    expect(readdirSync(at("packages/a/bundle")).sort()).toEqual(["bundles.json", "y.mjs"]);
  });

  test("says which package is not installed", async () => {
    rmSync(at("node_modules/dep"), { recursive: true });
    await expect(makeBundles(root, "packages/a")).rejects.toThrow(
      "Cannot bundle packages/a: package dep is not installed",
    );
    expect(existsSync(at("packages/a/bundle/bundles.json"))).toBe(false);
  });
});

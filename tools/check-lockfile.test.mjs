import { findProblems } from "./check-lockfile.mjs";

const integrity = `sha512-${"A".repeat(86)}==`;
const LINUX = "node_modules/@tool/linux-x64-musl";

/** @param {(packages: Record<string, any>) => void} change What to spoil in a sound lock file. */
function problemsAfter(change) {
  const packages = {
    "": { version: "0.1.0" },
    "node_modules/@own/a": { resolved: "packages/a", link: true },
    [LINUX]: { version: "1.2.3", integrity },
    "node_modules/tool": { version: "1.2.3", integrity, optionalDependencies: { "@tool/linux-x64-musl": "1.2.3" } },
    "node_modules/tool/node_modules/bundled": { version: "1.0.0", inBundle: true },
    "packages/a": { version: "0.1.0" },
  };
  change(packages);
  return findProblems({ packages });
}

describe("findProblems()", () => {
  test("finds none in a sound lock file", () => {
    expect(problemsAfter(() => {})).toEqual([]);
  });

  test("names the optional platform package that has no entry", () => {
    expect(problemsAfter((packages) => delete packages[LINUX])).toEqual([
      '"@tool/linux-x64-musl" 1.2.3, an optional dependency of "node_modules/tool", has no entry',
    ]);
  });

  test.each([
    ["node_modules/tool/node_modules/@tool/linux-x64-musl", 0],
    ["node_modules/other/node_modules/@tool/linux-x64-musl", 1],
  ])("looks for it where Node would: %s", (at, count) => {
    const problems = problemsAfter((packages) => {
      packages[at] = packages[LINUX];
      delete packages[LINUX];
    });
    expect(problems).toHaveLength(count);
  });

  test.each([
    ["no integrity", { integrity: undefined }, /expected SHA-512/],
    ["a broken integrity", { integrity: "sha512-short" }, /expected SHA-512/],
    ["another digest", { integrity: "sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk=" }, /expected SHA-512/],
    ["a source", { resolved: "https://mirror.example/tool-1.2.3.tgz" }, /names its source/],
    ["a range as version", { version: "^1.2.3" }, /expected an exact one/],
  ])("reports an entry with %s", (_, change, message) => {
    expect(problemsAfter((packages) => Object.assign(packages["node_modules/tool"], change))).toEqual([
      expect.stringMatching(message),
    ]);
  });
});

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

// What a developer's runs use, tests do not: they would read from it, and push to it.
for (const name of ["MADFORMER_REMOTE", "MADFORMER_REMOTE_UNSIGNED", "MADFORMER_STORE"]) delete process.env[name];

/**
 * The Jest configuration of a package: ES modules, TypeScript through swc (types erased, not checked).
 *
 * @param {string} configUrl `import.meta.url` of the package's jest.config.mjs.
 * @returns {import("jest").Config}
 */
export function preset(configUrl) {
  const { name } = JSON.parse(readFileSync(new URL("package.json", configUrl), "utf8"));
  return {
    rootDir: fileURLToPath(new URL(".", configUrl)),
    testMatch: ["<rootDir>/src/**/*.test.ts", "<rootDir>/test/**/*.test.ts"],
    testEnvironment: fileURLToPath(new URL("env.mjs", import.meta.url)),
    // Jest's cleanup of a test file's globals would reach the constructors that env.mjs shares with the main realm.
    testEnvironmentOptions: { globalsCleanup: "off" },
    testTimeout: 120_000, // a machine may stall; the first import of tfjs and the first ONNX session count too
    maxWorkers: 2,
    extensionsToTreatAsEsm: [".ts"],
    transform: {
      "\\.ts$": [
        "@swc/jest",
        {
          swcrc: false,
          sourceMaps: "inline",
          jsc: { target: "es2022", parser: { syntax: "typescript" } },
          module: { type: "es6" },
        },
      ],
    },
    moduleNameMapper: {
      // "./shape.js" is "./shape.ts" before it is built; packages from npm have real .js files, which come first.
      "^(\\.{1,2}/.*)\\.js$": ["$1.js", "$1.ts"],
      // A whole-package test imports the package by name and gets its sources, as in its tsconfig.json.
      [`^${name}$`]: "<rootDir>/src/index.ts",
    },
  };
}

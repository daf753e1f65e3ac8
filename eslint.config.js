import js from "@eslint/js";
import { defineConfig, globalIgnores } from "eslint/config";
import tseslint from "typescript-eslint";
import { importDirections } from "./tools/eslint/import-directions.mjs";

export default defineConfig(
  globalIgnores(["**/dist/", "**/coverage/", "**/bundle/", ".nx/", ".madformer/"]),
  { linterOptions: { reportUnusedDisableDirectives: "error" } },

  js.configs.recommended,
  tseslint.configs.recommendedTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      "@typescript-eslint/consistent-type-imports": ["error", { fixStyle: "inline-type-imports" }],
      "@typescript-eslint/no-explicit-any": "error",
      "@typescript-eslint/no-floating-promises": "error",
      "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_", varsIgnorePattern: "^_" }],
      // What was caught may be passed on: `reject(failure as Error)` is what no-unnecessary-type-assertion forbids.
      "@typescript-eslint/prefer-promise-reject-errors": ["error", { allowThrowingUnknown: true }],
      "@typescript-eslint/require-await": "off", // an async method may be the synchronous case of an interface
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true, allowBoolean: true }],
      "@typescript-eslint/switch-exhaustiveness-check": ["error", { considerDefaultExhaustiveForUnions: true }],
      eqeqeq: "error",
      "no-restricted-syntax": ["error", { selector: "TSEnumDeclaration", message: "Use a union of string literals" }],
    },
  },

  {
    files: ["packages/**/*.ts", "pipelines/**/*.{ts,mjs}"],
    plugins: { madformer: { rules: { "import-directions": importDirections } } },
    rules: { "madformer/import-directions": "error" },
  },
  {
    files: ["packages/*/src/**/*.ts"],
    rules: {
      "no-restricted-exports": ["error", { restrictDefaultExports: { direct: true, named: true, defaultFrom: true } }],
    },
  },
  {
    files: ["**/*.test.ts", "**/*.test.mjs"],
    rules: {
      // The type is global, the value is not: Jest gives ES modules no global `jest`.
      "no-restricted-globals": ["error", { name: "jest", message: 'import { jest } from "@jest/globals"' }],
    },
  },
  {
    // Golden sets bring JSON of another program, whose fields are described in words: tests read it as it comes.
    files: ["packages/golden/**/*.ts"],
    rules: Object.fromEntries(
      ["argument", "assignment", "call", "member-access", "return"].map((use) => [
        `@typescript-eslint/no-unsafe-${use}`,
        "off",
      ]),
    ),
  },
  // Plain JavaScript: the compiler checks its types from comments, which know `any` from JSON alone.
  { files: ["**/*.{js,mjs}"], extends: [tseslint.configs.disableTypeChecked] },
  {
    files: ["tools/**/*.mjs"],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: { "@typescript-eslint/no-floating-promises": "error", "no-undef": "off" }, // the compiler finds those
  },
);

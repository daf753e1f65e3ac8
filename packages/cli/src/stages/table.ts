import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { Stage } from "@madformer/stage";
import { GUIDES } from "./guide.js";

/** A stage as the command line lists it. Its package is loaded when it is needed: `--help` must not start an engine. */
export interface StageEntry {
  readonly name: string;
  readonly summary: string;
  /** Its package's folder. */
  readonly folder: string;
  readonly load: () => Promise<Stage<never>>;
}

const PACKAGES = join(dirname(fileURLToPath(import.meta.url)), "../../..");

/**
 * All stages, in the order of their guides. Which there are, the packages say that have them: `"madformer": { "stages":
 * ... }` in package.json, which bundles and Nx go by, too.
 */
export const STAGES: readonly StageEntry[] = inOrder(
  readdirSync(PACKAGES)
    .filter((dir) => existsSync(join(PACKAGES, dir, "package.json")))
    .flatMap((dir) => {
      const { madformer } = JSON.parse(readFileSync(join(PACKAGES, dir, "package.json"), "utf8")) as Manifest;
      return Object.entries(madformer?.stages ?? {}).map(([name, source]) => entryOf(dir, name, source));
    }),
);

interface Manifest {
  readonly madformer?: { readonly stages?: Readonly<Record<string, string>> };
}

/** @param source The file that exports `stage`, in its package. */
function entryOf(dir: string, name: string, source: string): StageEntry {
  const built = join(PACKAGES, dir, source.replace(/^src\//, "dist/").replace(/\.ts$/, ".js"));
  return {
    name,
    summary: GUIDES[name]?.summary ?? "",
    folder: `packages/${dir}`,
    load: async () => ((await import(pathToFileURL(built).href)) as { readonly stage: Stage<never> }).stage,
  };
}

function inOrder(entries: readonly StageEntry[]): StageEntry[] {
  const names = Object.keys(GUIDES);
  const place = ({ name }: StageEntry): number => (names.includes(name) ? names.indexOf(name) : names.length);
  return [...entries].sort((a, b) => place(a) - place(b));
}

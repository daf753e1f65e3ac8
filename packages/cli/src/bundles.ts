import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { ConfigError, digestOfBundle, type BundleDigest, type Stage } from "@madformer/stage";

/** What of `tools/pipelines` is used: plain JavaScript, which is there before anything is built. */
interface Tools {
  makeBundles(root: string, packageDir: string): Promise<Map<string, string>>;
  findStages(root: string): Map<string, { readonly packageDir: string; readonly bundle: string }>;
}

/** The stage functions that pipelines use, as bundles of the sources as they are now. */
export interface Bundles {
  readonly program: (uses: string) => Promise<BundleDigest>;
  readonly stage: (uses: string) => Promise<Stage<never>>;
}

/**
 * Brings the bundles of pipelines' stages up to date: they are the code that keys name.
 *
 * @throws {ConfigError} If a pipeline uses a stage function that there is not. {Error} If one cannot be bundled.
 */
export async function bundlesOf(
  root: string,
  pipelines: readonly { readonly stages: readonly { readonly uses: string }[] }[],
): Promise<Bundles> {
  const load = async (name: string): Promise<unknown> =>
    await import(pathToFileURL(join(root, "tools/pipelines", name)).href);
  const tools = { ...((await load("bundles.mjs")) as object), ...((await load("stages.mjs")) as object) } as Tools;
  const functions = tools.findStages(root);
  const at = (uses: string) => {
    const found = functions.get(uses);
    if (found) return found;
    throw new ConfigError(
      `There is no stage function "${uses}", expected one of: ${[...functions.keys()].sort().join(", ")}`,
    );
  };
  const uses = pipelines.flatMap(({ stages }) => stages.map((stage) => stage.uses));
  for (const packageDir of new Set(uses.map((name) => at(name).packageDir))) await tools.makeBundles(root, packageDir);
  const pathOf = (name: string): string => join(root, at(name).bundle);
  return {
    program: (name) => digestOfBundle(pathOf(name)),
    stage: async (name) => ((await import(pathToFileURL(pathOf(name)).href)) as { readonly stage: Stage<never> }).stage,
  };
}

import { ConfigError } from "./config.js";
import type { InputSpec } from "./stage.js";

/** What a manifest says of a folder that no stage made. */
const NOBODY = "folder";

/** Whether an input may be what a stage made. */
export function isMadeBy({ stages }: InputSpec, stage: string): boolean {
  return stages === undefined || stage === NOBODY || stages.includes(stage);
}

/**
 * @param what The input, as the message calls it.
 * @param stage What made it.
 * @throws {ConfigError} If another stage makes such inputs: says which to run.
 */
export function assertMadeBy(what: string, spec: InputSpec, stage: string): void {
  if (isMadeBy(spec, stage)) return;
  const [first = "", ...others] = spec.stages ?? [];
  const makers = [first, ...others].map((name) => `"${name}"`).join(" or ");
  throw new ConfigError(
    `${what} is what stage "${stage}" made, expected what ${makers} makes (${spec.summary}): run stage "${first}" first`,
  );
}

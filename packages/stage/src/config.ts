import { z } from "zod";
import type { Stage } from "./stage.js";

/** A config that a stage cannot run with. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

/**
 * A stage's complete config, defaults filled in.
 *
 * @throws {ConfigError} Naming every field that is unknown, missing, of the wrong kind or out of range.
 */
export function parseConfig<C>(stage: Pick<Stage<C>, "name" | "config">, input: unknown, where = "its config"): C {
  const result = stage.config.safeParse(input);
  if (result.success) return result.data;
  const problems = result.error.issues.map(
    (issue) => `${issue.path.length === 0 ? "config" : issue.path.join(".")}: ${issue.message}`,
  );
  throw new ConfigError(`Stage "${stage.name}" cannot run with ${where}: ${problems.join("; ")}`);
}

/** The JSON schema of a stage's config, as `--help` and editors read it. */
export function configSchema(stage: Pick<Stage, "config">): z.core.JSONSchema.BaseSchema {
  return z.toJSONSchema(stage.config, { io: "input", unrepresentable: "any" });
}

import { z } from "zod";
import { nearest } from "./nearest.js";
import { discriminator, fieldAt, fieldsOf, wordsOf, type Schema } from "./schema.js";
import type { Stage } from "./stage.js";

/** A config that a stage cannot run with. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

/**
 * A stage's complete config, defaults filled in.
 *
 * @throws {ConfigError} Naming every field that is unknown, missing, of the wrong kind or out of range, with what it
 *   can be.
 */
export function parseConfig<C>(stage: Pick<Stage<C>, "name" | "config">, input: unknown, where = "its config"): C {
  const result = stage.config.safeParse(input);
  if (result.success) return result.data;
  const schema = configSchema(stage);
  const problems = result.error.issues.flatMap((issue) => problemsOf(issue, [], schema, input));
  throw new ConfigError(`Stage "${stage.name}" cannot run with ${where}: ${[...new Set(problems)].join("; ")}`);
}

/** The JSON schema of a stage's config, as `--help` and editors read it. */
export function configSchema(stage: Pick<Stage, "config">): Schema {
  return z.toJSONSchema(stage.config, { io: "input", unrepresentable: "any" }) as Schema;
}

/** What an issue of zod's says, in words. */
function problemsOf(
  issue: z.core.$ZodIssue,
  above: readonly PropertyKey[],
  schema: Schema,
  input: unknown,
): readonly string[] {
  const path = [...above, ...issue.path];
  const field = fieldAt(schema, path);
  const found = valueAt(input, path);
  const say = (what: string): string[] => [`${path.length === 0 ? "config" : path.join(".")}: ${what}`];
  if (issue.code === "unrecognized_keys") return issue.keys.flatMap((key) => say(strange(key, field, found)));
  if (issue.code === "invalid_union") {
    // Of the form that the value has, if it has the kind of one, the problems within.
    const form = issue.errors.find((problems) => !problems.some(({ path: at }) => at.length === 0));
    if (form && form.length > 0) return form.flatMap((problem) => problemsOf(problem, path, schema, input));
  }
  const words = wordsOf(field);
  const isChoice = ["invalid_union", "invalid_type", "invalid_value"].includes(issue.code);
  if (words.length === 0 && issue.code === "invalid_type" && path.length > 0) {
    const { expected } = issue;
    if (found !== undefined) return say(`found ${shown(found)}, expected ${expected}`);
    return say(`it is missing, expected ${expected}${field.description === undefined ? "" : `: ${field.description}`}`);
  }
  if (words.length === 0 || !isChoice) return say(issue.message);
  const near = typeof found === "string" ? nearest(found, words) : undefined;
  const hint = near === undefined ? "" : `; did you mean ${near}?`;
  return say(`found ${shown(found)}, expected one of: ${words.join(", ")}${hint}`);
}

/** What is wrong with a field that there is not, or not here. */
function strange(key: string, field: Schema, value: unknown): string {
  const fields = fieldsOf(field);
  const of = fields.find(([name]) => name === key)?.[1].of ?? [];
  const kind = discriminator(field);
  if (of.length > 0 && kind !== undefined)
    return `"${key}" is a field of ${of.join(", ")}, found ${kind} ${shown(valueAt(value, [kind]))}`;
  const names = fields.map(([name]) => name);
  const near = nearest(key, names);
  return `there is no field ${shown(key)}, ${near === undefined ? `expected one of: ${names.join(", ")}` : `did you mean "${near}"?`}`;
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (at, part) => (typeof at === "object" && at !== null && Object.hasOwn(at, part) ? at[part as never] : undefined),
    value,
  );
}

function shown(value: unknown): string {
  const text = value === undefined ? "nothing" : JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

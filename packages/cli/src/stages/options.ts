import { discriminator, fieldsOf, formsOf, kindOf, meant, wordOf, type Schema } from "@madformer/stage";
import { Option } from "commander";

/** A field of a config with the option that sets it. */
export interface FieldOption {
  /** Where the field is in the config. */
  readonly path: readonly string[];
  readonly option: Option;
}

/**
 * Options for all fields of a config: `batchImages` is `--batch-images <integer>`, `optimizer.beta1` is
 * `--optimizer.beta1 <number>`, and so are the fields of each form of a field with several, such as
 * `--schedule.warmup <number>`. A field with fields of its own, or with several forms, takes JSON too, or a bare word
 * where that is one of them.
 *
 * @param named Words given for fields, by their flags: the values they stand for are shown as defaults.
 */
export function optionsOf(schema: Schema, named: Readonly<Record<string, string>> = {}): FieldOption[] {
  return optionsBelow(schema, [], undefined, named);
}

function optionsBelow(
  schema: Schema,
  path: readonly string[],
  preset: unknown,
  named: Readonly<Record<string, string>>,
): FieldOption[] {
  return fieldsOf(schema).flatMap(([name, { schema: field, of }]) => {
    const here = [...path, name];
    const value = isObject(preset) && Object.hasOwn(preset, name) ? preset[name] : field.default;
    const word = named[flagOf(here)] ?? value;
    const below = optionsBelow(field, here, meant(word, field), named);
    return [...optionsAt(here, field, of, value).map((option) => ({ path: here, option })), ...below];
  });
}

/** `["optimizer", "weightDecay"]` -> `optimizer.weight-decay` */
export function flagOf(path: readonly string[]): string {
  return path.map((part) => part.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)).join(".");
}

/** The option of a field; of one that is yes or no two, of which help shows the one that changes something. */
function optionsAt(path: readonly string[], field: Schema, of: readonly string[], preset: unknown): Option[] {
  const flag = flagOf(path);
  const description = `${of.length > 0 ? `${of.join(", ")}: ` : ""}${field.description ?? ""}`;
  const text = JSON.stringify(preset);
  const word = Object.entries(field.presets ?? {}).find(([, value]) => JSON.stringify(value) === text)?.[0] ?? preset;
  const note = preset === undefined ? "" : ` (default: ${typeof word === "string" ? word : text})`;
  if (field.type === "boolean") {
    const [on, off] = [
      new Option(`--${flag}`, description),
      new Option(`--no-${flag}`, `${description} (default: yes)`),
    ];
    return preset === true ? [off, on.hideHelp()] : [on, off.hideHelp()];
  }
  return [new Option(`--${flag} <${kindOf(field)}>`, `${description}${note}`)];
}

/**
 * The value of an option as the config has it: numbers as numbers; JSON as JSON; a bare word stays a word, or becomes
 * `{ "kind": word }` where the field is one of several kinds. What fits nothing stays text, and the schema says so.
 */
export function valueOf(text: string | boolean, field: Schema): unknown {
  if (typeof text === "boolean") return text;
  if (field.type === "integer" || field.type === "number")
    return text.trim() !== "" && Number.isFinite(Number(text)) ? Number(text) : text;
  if (field.type === "string" || field.enum) return text;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    const key = discriminator(field);
    return key !== undefined && formsOf(field).some((form) => wordOf(form, key) === text) ? { [key]: text } : text;
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

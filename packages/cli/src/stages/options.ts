import { Option } from "commander";

/** What of a JSON schema options are made from. */
export interface Schema {
  readonly type?: string | readonly string[];
  readonly description?: string;
  readonly default?: unknown;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly allOf?: readonly Schema[];
}

/** A field of a config with the option that sets it. */
export interface FieldOption {
  /** Where the field is in the config. */
  readonly path: readonly string[];
  readonly option: Option;
}

/**
 * Options for all fields of a config: `batchImages` is `--batch-images <integer>`, `optimizer.beta1` is
 * `--optimizer.beta1 <number>`. A field with fields of its own, or with several forms, takes JSON too, or a bare word where
 * that is one of them.
 */
export function optionsOf(schema: Schema, path: readonly string[] = []): FieldOption[] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, field]) => {
    const here = [...path, name];
    const whole = { path: here, option: optionOf(here, field) };
    return field.properties && !field.anyOf && !field.oneOf ? [whole, ...optionsOf(field, here)] : [whole];
  });
}

/** `["optimizer", "weightDecay"]` -> `optimizer.weight-decay` */
export function flagOf(path: readonly string[]): string {
  return path.map((part) => part.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)).join(".");
}

function optionOf(path: readonly string[], field: Schema): Option {
  const flag = flagOf(path);
  const { description = "", default: preset } = field;
  const note =
    preset === undefined ? "" : ` (default: ${typeof preset === "string" ? preset : JSON.stringify(preset)})`;
  if (field.type === "boolean") {
    const on = preset !== true;
    return new Option(on ? `--${flag}` : `--no-${flag}`, `${description}${on ? "" : " (default: yes)"}`);
  }
  return new Option(`--${flag} <${kindOf(field)}>`, `${description}${note}`);
}

function kindOf(field: Schema): string {
  if (field.enum) return field.enum.map(String).join("|");
  if (field.type === "integer") return "integer";
  if (field.type === "number") return "number";
  if (field.type === "string") return "text";
  const kinds = (field.oneOf ?? field.anyOf ?? []).flatMap(({ properties }) => {
    const kind = properties?.["kind"]?.const;
    return typeof kind === "string" ? [kind] : [];
  });
  return kinds.length > 0 ? `${kinds.join("|")}|json` : "json";
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
    const kinds = (field.oneOf ?? field.anyOf ?? []).some(({ properties }) => properties?.["kind"]?.const === text);
    return kinds ? { kind: text } : text;
  }
}

/** The field of a schema at a path. */
export function fieldAt(schema: Schema, path: readonly string[]): Schema {
  return path.reduce((field, part) => field.properties?.[part] ?? {}, schema);
}

/** A copy of a config with one field set; objects on the way are made, and a word on the way is the preset it names. */
export function withField(config: unknown, path: readonly string[], value: unknown): unknown {
  const [first, ...rest] = path;
  if (first === undefined) return value;
  const given = typeof config === "string" ? { preset: config } : config;
  const object = typeof given === "object" && given !== null ? (given as Record<string, unknown>) : {};
  return { ...object, [first]: withField(object[first], rest, value) };
}

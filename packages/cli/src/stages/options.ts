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
  /** Complete values that have a name, as zod's `meta({ presets })` gives them: a word stands for one of them. */
  readonly presets?: Readonly<Record<string, unknown>>;
}

/** A field of a config with the option that sets it. */
export interface FieldOption {
  /** Where the field is in the config. */
  readonly path: readonly string[];
  readonly option: Option;
}

/** A field of a schema, or of some of the forms that a value of it can have. */
interface Field {
  readonly schema: Schema;
  /** Words of the forms that have it, such as `wsd`; none if all have it. */
  readonly of: readonly string[];
}

/**
 * Options for all fields of a config: `batchImages` is `--batch-images <integer>`, `optimizer.beta1` is
 * `--optimizer.beta1 <number>`, and so are the fields of each form of a field with several, such as `--schedule.warmup
 * <number>`. A field with fields of its own, or with several forms, takes JSON too, or a bare word where that is one of them.
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

/** The fields of a schema, in their order: of all its forms, where it has several. */
export function fieldsOf(schema: Schema): [string, Field][] {
  const forms = formsOf(schema);
  if (forms.length === 0) return Object.entries(schema.properties ?? {}).map(([name, field]) => [name, all(field)]);
  const key = discriminator(schema);
  const names = [...new Set(forms.flatMap(({ properties }) => Object.keys(properties ?? {})))];
  return names.map((name) => {
    const having = forms.filter(({ properties }) => properties?.[name] !== undefined);
    const fields = having.map(({ properties }) => properties?.[name] as Schema);
    if (name === key) {
      const words = having.map((form) => wordOf(form, key));
      const meanings = having.map((form) => form.properties?.[key]?.description);
      const told = meanings.some(Boolean)
        ? words.map((word, i) => `${word}: ${meanings[i] ?? word}`).join("; ")
        : WHICH;
      return [name, all({ type: "string", enum: words, description: told })];
    }
    const [first, ...others] = fields as [Schema, ...Schema[]];
    const same = others.every((field) => kindOf(field) === kindOf(first));
    const of = having.length < forms.length && key !== undefined ? having.map((form) => wordOf(form, key)) : [];
    return [name, { schema: same ? first : { anyOf: fields, description: first.description ?? "" }, of }];
  });
}

const all = (schema: Schema): Field => ({ schema, of: [] });
const wordOf = ({ properties }: Schema, key: string): string => String(properties?.[key]?.const);
const WHICH = "Which of these it is";

/** The forms of a field that are objects. */
function formsOf(schema: Schema): readonly Schema[] {
  return (schema.oneOf ?? schema.anyOf ?? []).filter(({ properties }) => properties !== undefined);
}

/** The field that tells forms apart: a word in each of them. */
function discriminator(schema: Schema): string | undefined {
  const forms = formsOf(schema);
  return Object.keys(forms[0]?.properties ?? {}).find((name) =>
    forms.every(({ properties }) => typeof properties?.[name]?.const === "string"),
  );
}

/** What a value stands for: a preset's word for the preset, any other for itself. */
function meant(value: unknown, { presets = {} }: Schema): unknown {
  return typeof value === "string" && Object.hasOwn(presets, value) ? presets[value] : value;
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

function kindOf(field: Schema): string {
  if (field.enum) return field.enum.map(String).join("|");
  if (field.type === "integer") return "integer";
  if (field.type === "number") return "number";
  if (field.type === "string") return "text";
  if (field.type === "boolean") return "yes|no";
  const words = wordsOf(field);
  if (words.length > 0) return `${words.join("|")}|json`;
  const kinds = [...new Set((field.anyOf ?? field.oneOf ?? []).map(kindOf))];
  return kinds.length > 1 ? kinds.join("|") : "json";
}

/** The words that stand for a value of a field. */
export function wordsOf(field: Schema): string[] {
  const key = discriminator(field);
  const forms = (field.oneOf ?? field.anyOf ?? []).flatMap(({ enum: words = [] }) => words.map(String));
  const kinds = key === undefined ? [] : formsOf(field).map((form) => wordOf(form, key));
  return [...new Set([...(field.enum ?? []).map(String), ...forms, ...kinds, ...Object.keys(field.presets ?? {})])];
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

/** The field of a schema at a path. */
export function fieldAt(schema: Schema, path: readonly string[]): Schema {
  return path.reduce((field, part) => fieldsOf(field).find(([name]) => name === part)?.[1].schema ?? {}, schema);
}

/**
 * A copy of a config with one field set. Where an object on the way is not given, it is what is there by default; a word on
 * the way is what it stands for, and JSON for a field with presets goes on top of that by default.
 *
 * @param preset What is there by default.
 */
export function withField(
  config: unknown,
  path: readonly string[],
  value: unknown,
  field: Schema = {},
  preset: unknown = field.default,
): unknown {
  const [first, ...rest] = path;
  if (first === undefined) {
    const base = meant(preset, field);
    const bare = field.presets && isObject(base) && isObject(value) && !Object.hasOwn(value, "preset");
    return bare ? { ...base, ...value } : value;
  }
  const given = meant(config ?? preset, field);
  const object = isObject(given) ? given : typeof given === "string" ? { preset: given } : {};
  const named = meant(object["preset"], field);
  const below = isObject(named) ? named[first] : undefined;
  const next = fieldAt(field, [first]);
  return { ...object, [first]: withField(object[first], rest, value, next, below ?? next.default) };
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

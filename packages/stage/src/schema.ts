/** What of a JSON schema is read here: zod's, of a stage's config. */
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

/** A field of a schema, or of some of the forms that a value of it can have. */
export interface SchemaField {
  readonly schema: Schema;
  /** Words of the forms that have it, such as `wsd`; none if all have it. */
  readonly of: readonly string[];
}

const WHICH = "Which of these it is";

/** The fields of a schema, in their order: of all its forms, where it has several. */
export function fieldsOf(schema: Schema): [string, SchemaField][] {
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

const all = (schema: Schema): SchemaField => ({ schema, of: [] });

/** The field of a schema at a path; one that says nothing where there is none. */
export function fieldAt(schema: Schema, path: readonly PropertyKey[]): Schema {
  return path.reduce<Schema>(
    (field, part) => fieldsOf(field).find(([name]) => name === part)?.[1].schema ?? {},
    schema,
  );
}

/** The forms of a field that are objects. */
export function formsOf(schema: Schema): readonly Schema[] {
  return (schema.oneOf ?? schema.anyOf ?? []).filter(({ properties }) => properties !== undefined);
}

/** The field that tells forms apart: a word in each of them. */
export function discriminator(schema: Schema): string | undefined {
  const forms = formsOf(schema);
  return Object.keys(forms[0]?.properties ?? {}).find((name) =>
    forms.every(({ properties }) => typeof properties?.[name]?.const === "string"),
  );
}

/** The word that stands for a form. */
export function wordOf({ properties }: Schema, key: string): string {
  return String(properties?.[key]?.const);
}

/** All words that stand for a value of a field. */
export function wordsOf(field: Schema): string[] {
  const key = discriminator(field);
  const forms = (field.oneOf ?? field.anyOf ?? []).flatMap(({ enum: words = [] }) => words.map(String));
  const kinds = key === undefined ? [] : formsOf(field).map((form) => wordOf(form, key));
  return [...new Set([...(field.enum ?? []).map(String), ...forms, ...kinds, ...Object.keys(field.presets ?? {})])];
}

/** What values a field takes, as help says it: `integer`, `ddim|dpm`, `wsd|cosine|json`. */
export function kindOf(field: Schema): string {
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

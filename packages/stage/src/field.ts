import { fieldAt, type Schema } from "./schema.js";

/** What a value stands for: a preset's word for the preset, any other for itself. */
export function meant(value: unknown, { presets = {} }: Schema): unknown {
  return typeof value === "string" && Object.hasOwn(presets, value) ? presets[value] : value;
}

/**
 * A copy of a config with one field set. Where an object on the way is not given, it is what is there by default; a
 * word on the way is what it stands for, and JSON for a field with presets goes on top of that by default.
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
    return bare ? onTopOf(base, value) : value;
  }
  const given = meant(config ?? preset, field);
  const object = isObject(given) ? given : typeof given === "string" ? { preset: given } : {};
  const named = meant(object["preset"], field);
  const below = isObject(named) ? named[first] : undefined;
  const next = fieldAt(field, [first]);
  return { ...object, [first]: withField(object[first], rest, value, next, below ?? next.default) };
}

/** An object with another's fields in place of its own, and so with the objects in it. */
function onTopOf(base: Readonly<Record<string, unknown>>, value: Readonly<Record<string, unknown>>): object {
  const taken = Object.entries(value).map(([name, field]) => {
    const below = base[name];
    return [name, isObject(below) && isObject(field) ? onTopOf(below, field) : field] as const;
  });
  return { ...base, ...Object.fromEntries<unknown>(taken) };
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

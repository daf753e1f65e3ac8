import { DataError } from "@madformer/artifacts";
import { z } from "zod";

const Name = z.string().min(1).max(64);

/** One attribute that the network learns: one of several classes, or a number. */
export const Label = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("classes"),
    name: Name,
    values: z.array(z.string().max(64)).min(2).max(64).describe("What a class is called, by its position"),
  }),
  z.strictObject({
    kind: z.literal("number"),
    name: Name,
    min: z.number().describe("Least value seen: -1 for the network"),
    max: z.number().describe("Greatest value seen: 1 for the network"),
  }),
]);
export type Label = z.infer<typeof Label>;
export type ClassesLabel = Extract<Label, { readonly kind: "classes" }>;

/** Most attributes of an image, classes of an attribute, characters of a name or class, characters of the JSON. */
const LIMITS = { attributes: 64, classes: 64, characters: 64, json: 65536 } as const;

/** What the attributes of some images are. */
export interface LabelTable {
  /** Attributes that can be learned, sorted by name. */
  readonly labels: readonly Label[];
  /** Attributes that cannot, with the reason. */
  readonly leftOut: Readonly<Record<string, string>>;
  /** (images, labels): the position of the class, or the number in [-1, 1]; NaN where an image does not have it. */
  readonly targets: Float32Array;
}

interface Column {
  kind: "classes" | "number";
  /** Classes in the order in which they came. */
  readonly classes: Map<string, number>;
  readonly values: number[];
}

/**
 * Finds out what there is to learn from the attributes themselves: a string or a truth value is one of the classes that
 * are seen, a number is brought to [-1, 1] by the least and greatest that are seen. Nulls, lists and objects are as if
 * they were not there; where there is an object `attributes`, what stands beside it names the image. Left out is what
 * tells nothing (one value alone) or names the image (more than 64 classes).
 *
 * @example
 * const collector = new LabelCollector();
 * collector.add('{"hat": "cap", "smile": 0.5}', "face 1");
 * collector.add('{"hat": "none", "smile": 0.25}', "face 2");
 * collector.table().targets; // 0, 1, 1, -1
 */
export class LabelCollector {
  private readonly columns = new Map<string, Column>();
  private rows = 0;

  /**
   * Adds one image's attributes.
   *
   * @param json An object, as JSON.
   * @param image What to call the image in errors.
   * @throws {DataError} If it is none, too large, or an attribute was a number before and is not now.
   */
  add(json: string, image: string): void {
    for (const [name, value] of Object.entries(parsed(json, image))) {
      const kind = typeof value === "number" ? "number" : "classes";
      if (typeof value !== "string" && typeof value !== "boolean" && typeof value !== "number") continue;
      const column = this.column(name, kind, image);
      while (column.values.length < this.rows) column.values.push(NaN);
      column.values.push(typeof value === "number" ? value : classOf(column, String(value)));
    }
    this.rows++;
  }

  /** What was found. */
  table(): LabelTable {
    const leftOut: Record<string, string> = Object.create(null) as Record<string, string>;
    const found: { readonly label: Label; readonly target: (value: number) => number; readonly values: number[] }[] =
      [];
    for (const [name, column] of [...this.columns].sort(([a], [b]) => (a < b ? -1 : 1))) {
      const { kind, classes, values } = column;
      if (kind === "number") {
        const [min, max] = extremes(values);
        if (min === max) leftOut[name] = `it is ${min} in all images`;
        else {
          // Halves first: the width of a range may be beyond the largest number.
          const [center, reach] = [min / 2 + max / 2, max / 2 - min / 2];
          found.push({ label: { kind, name, min, max }, target: (value) => (value - center) / reach, values });
        }
      } else if (classes.size > LIMITS.classes) leftOut[name] = `it has more than ${LIMITS.classes} classes`;
      else if (classes.size < 2) leftOut[name] = `it is ${JSON.stringify([...classes.keys()][0])} in all images`;
      else {
        const sorted = [...classes.keys()].sort();
        const position = new Map(sorted.map((value, i) => [classes.get(value), i]));
        found.push({
          label: { kind, name, values: sorted },
          target: (value) => position.get(value) ?? NaN,
          values,
        });
      }
    }
    const targets = new Float32Array(this.rows * found.length).fill(NaN);
    found.forEach(({ target, values }, label) =>
      values.forEach((value, row) => (targets[row * found.length + label] = target(value))),
    );
    return { labels: found.map(({ label }) => label), leftOut, targets };
  }

  private column(name: string, kind: Column["kind"], image: string): Column {
    let column = this.columns.get(name);
    if (!column) {
      if (name === "" || name.length > LIMITS.characters)
        throw new DataError(
          `Cannot learn attributes: the name of one of ${image} has ${name.length} characters, expected 1 to ${LIMITS.characters}`,
        );
      if (this.columns.size === LIMITS.attributes)
        throw new DataError(
          `Cannot learn attributes: ${image} brings more than ${LIMITS.attributes}, among them ${JSON.stringify(name)}`,
        );
      column = { kind, classes: new Map(), values: [] };
      this.columns.set(name, column);
    }
    if (column.kind !== kind)
      throw new DataError(
        `Cannot learn attribute ${JSON.stringify(name)}: in ${image} it is ${kind === "number" ? "a number" : "no number"}, unlike before`,
      );
    return column;
  }
}

/** Past the limit all classes are one: the column will be left out. */
function classOf({ classes }: Column, value: string): number {
  const key = value.length > LIMITS.characters ? `${value.slice(0, LIMITS.characters - 1)}…` : value;
  const known = classes.get(key);
  if (known !== undefined) return known;
  if (classes.size > LIMITS.classes) return LIMITS.classes;
  classes.set(key, classes.size);
  return classes.size - 1;
}

function extremes(values: readonly number[]): [min: number, max: number] {
  let [min, max] = [Infinity, -Infinity];
  for (const value of values) {
    if (value < min) min = value;
    if (value > max) max = value;
  }
  return [min, max];
}

function parsed(json: string, image: string): object {
  if (json.length > LIMITS.json)
    throw new DataError(
      `Cannot learn attributes: those of ${image} have ${json.length} characters, expected ${LIMITS.json} at most`,
    );
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (cause) {
    throw new DataError(`Cannot learn attributes: those of ${image} are no JSON`, { cause });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new DataError(`Cannot learn attributes: those of ${image} are no object of names and values`);
  const { attributes } = value as { readonly attributes?: unknown };
  return typeof attributes === "object" && attributes !== null && !Array.isArray(attributes) ? attributes : value;
}

/** Numbers that the head makes for a label: one for each class, or the number itself. */
export const outputsOf = (label: Label): number => (label.kind === "classes" ? label.values.length : 1);

/** Numbers that the head makes for all labels. */
export function totalOutputs(labels: readonly Label[]): number {
  return labels.reduce((sum, label) => sum + outputsOf(label), 0);
}

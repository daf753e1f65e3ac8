import { FACE_ATTRIBUTES, type FaceAttributeName, type FaceAttributes } from "./attributes.js";

/** Classes of drawn faces: all combinations of what some attributes can be. */
export interface FaceClasses {
  /** By number, such as `hairColor=black glasses=none`; the last attribute changes first. */
  readonly names: readonly string[];
  readonly labelOf: (attributes: FaceAttributes) => number;
}

/** Classes of a data set at most. */
const MAX_CLASSES = 1000;

/**
 * The classes that some attributes make.
 *
 * @param text Names of attributes that are choices, such as `hairColor,glasses`.
 * @throws {RangeError} If one is no such attribute or named twice, or there are more than a thousand classes.
 *
 * @example
 * faceClasses("glasses").names; // "glasses=none", "glasses=round", "glasses=square", "glasses=sunglasses"
 */
export function faceClasses(text: string): FaceClasses {
  const attributes = text.split(",").map((name) => ({ name, values: valuesOf(name) }));
  const names = new Set(attributes.map(({ name }) => name));
  if (names.size < attributes.length)
    throw new RangeError(`Cannot make classes of ${JSON.stringify(text)}: an attribute is named twice`);
  const all = attributes.reduce<string[]>(
    (before, { name, values }) => before.flatMap((words) => values.map((value) => `${words} ${name}=${value}`.trim())),
    [""],
  );
  if (all.length > MAX_CLASSES)
    throw new RangeError(
      `Cannot make classes of ${JSON.stringify(text)}: they are ${all.length}, more than ${MAX_CLASSES}`,
    );
  const labelOf = (face: FaceAttributes): number =>
    attributes.reduce(
      (label, { name, values }) => label * values.length + values.indexOf(face[name as FaceAttributeName] as string),
      0,
    );
  return { names: all, labelOf };
}

function valuesOf(name: string): readonly string[] {
  const attribute = Object.hasOwn(FACE_ATTRIBUTES, name) ? FACE_ATTRIBUTES[name as FaceAttributeName] : undefined;
  if (attribute?.kind === "choice") return attribute.values;
  const choices = Object.entries(FACE_ATTRIBUTES).flatMap(([known, { kind }]) => (kind === "choice" ? [known] : []));
  throw new RangeError(
    `Cannot make classes of ${JSON.stringify(name)}: expected attributes such as ${choices.join(", ")}`,
  );
}

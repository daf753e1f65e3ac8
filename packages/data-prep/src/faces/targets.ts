import { FACE_ATTRIBUTES, type FaceAttributeName, type FaceAttributes } from "./attributes.js";

const NAMES = Object.keys(FACE_ATTRIBUTES) as FaceAttributeName[];

/** Names of the attributes that are choices, and how many classes each has, in the order of {@link FaceTargets}. */
export const FACE_CHOICES: readonly { readonly name: FaceAttributeName; readonly classes: number }[] = NAMES.flatMap(
  (name) => {
    const attribute = FACE_ATTRIBUTES[name];
    return attribute.kind === "choice" ? [{ name, classes: attribute.values.length }] : [];
  },
);

/** Names of the attributes that are numbers, in the order of {@link FaceTargets}. */
export const FACE_RANGES: readonly FaceAttributeName[] = NAMES.filter((name) => FACE_ATTRIBUTES[name].kind === "range");

/** What a network that looks at a face should say. */
export interface FaceTargets {
  /** One class per choice: its position in the attribute's `values`. */
  readonly classes: Int32Array;
  /** One number in [0, 1] per range: 0 at its `low`, 1 at its `high`. */
  readonly values: Float32Array;
}

/** A face's attributes as targets to train on, in the order of {@link FACE_CHOICES} and {@link FACE_RANGES}. */
export function attributeTargets(attributes: FaceAttributes): FaceTargets {
  const [classes, values]: [number[], number[]] = [[], []];
  for (const name of NAMES) {
    const [attribute, value] = [FACE_ATTRIBUTES[name], attributes[name]];
    if (attribute.kind === "choice") classes.push((attribute.values as readonly unknown[]).indexOf(value));
    else values.push(((value as number) - attribute.low) / (attribute.high - attribute.low));
  }
  return { classes: Int32Array.from(classes), values: Float32Array.from(values) };
}

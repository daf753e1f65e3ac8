import { randomKey, uniform } from "@madformer/engine";

/** One of several named looks, drawn with the given weights; its class is its position in `values`. */
export interface ChoiceAttribute<Name extends string = string> {
  readonly kind: "choice";
  readonly values: readonly Name[];
  readonly weights: readonly number[];
  readonly about: string;
}

/** A number, drawn evenly from [low, high]. */
export interface RangeAttribute {
  readonly kind: "range";
  readonly low: number;
  readonly high: number;
  readonly about: string;
}

function choice<Name extends string>(about: string, weights: Readonly<Record<Name, number>>): ChoiceAttribute<Name> {
  return {
    kind: "choice",
    values: Object.keys(weights) as Name[],
    weights: Object.values(weights),
    about,
  };
}

function range(low: number, high: number, about: string): RangeAttribute {
  return { kind: "range", low, high, about };
}

/**
 * What a face is made of. No attribute depends on another; some may hide another (a hat much of the hair). Lengths are
 * in hundredths of the picture's side.
 */
export const FACE_ATTRIBUTES = {
  skinTone: range(0, 1, "Fair (0) to deep (1)"),
  faceWidth: range(23.5, 28.5, "Half the width of the head"),
  faceLength: range(81, 86, "How far down the chin lies"),
  jaw: range(0, 1, "Pointed (0) to square (1)"),
  hairStyle: choice("Cut of the hair", {
    bald: 2,
    buzz: 3,
    short: 4,
    parted: 4,
    quiff: 4,
    curly: 4,
    afro: 3,
    bob: 4,
    long: 4,
    wavy: 4,
    bun: 4,
  }),
  hairColor: choice("Colour of hair, brows and beard", {
    black: 4,
    brown: 4,
    chestnut: 3,
    ginger: 3,
    blond: 4,
    gray: 3,
    rose: 1,
    teal: 1,
  }),
  eyeColor: choice("Colour of both irises", { brown: 3, amber: 2, green: 2, blue: 3, gray: 2 }),
  eyeSize: range(0.88, 1.14, "Scale of the eyes"),
  eyeSpacing: range(11.2, 13.6, "Half the distance between the pupils"),
  eyeOpenness: range(0.55, 1, "Sleepy (0.55) to wide (1)"),
  gaze: range(-1, 1, "Where the eyes look: left (-1) to right (1)"),
  browAngle: range(-1, 1, "Worried (-1) to stern (1)"),
  browThickness: range(1.3, 3.2, "Thickness of the brows"),
  browHeight: range(-1, 1, "Low (-1) to raised (1)"),
  noseWidth: range(3, 6.4, "Half the width of the nose"),
  noseLength: range(-1, 1, "Short (-1) to long (1)"),
  mouthWidth: range(7, 11, "Half the width of the mouth"),
  smile: range(-0.6, 1, "Corners down (-0.6) to up (1)"),
  mouthOpenness: range(0, 1, "Closed (0) to wide open (1)"),
  lips: choice("Colour of the lips", { natural: 5, red: 2, berry: 1 }),
  glasses: choice("What is worn before the eyes", { none: 6, round: 2, square: 2, sunglasses: 1 }),
  facialHair: choice("Hair of the lower face", { none: 7, stubble: 1, moustache: 1, goatee: 1, beard: 2 }),
  hat: choice("What is worn on the head", { none: 8, beanie: 1, cap: 1, headband: 1 }),
  earrings: choice("What is worn at both ears", { none: 3, studs: 1, hoops: 1 }),
  blush: range(0, 1, "Redness of the cheeks"),
  freckles: choice("Dots on the cheeks", { none: 4, some: 1 }),
  ageLines: range(0, 1, "None (0) to deep (1) lines of forehead and cheeks"),
  headTilt: range(-7, 7, "Degrees clockwise"),
  headTurn: range(-1, 1, "Towards the left (-1) or the right (1)"),
  headNod: range(-1, 1, "Up (-1) or down (1)"),
  light: range(-1, 1, "Where light comes from: left (-1) to right (1)"),
  background: choice("Colour behind the head", {
    sky: 1,
    mint: 1,
    sand: 1,
    coral: 1,
    lilac: 1,
    slate: 1,
    night: 1,
    cream: 1,
  }),
  backgroundGlow: range(0, 1, "Strength of the light behind the head"),
  clothing: choice("Cut of the clothes", { crew: 2, vneck: 2, collar: 2, turtleneck: 1, hoodie: 2 }),
  clothingColor: choice("Colour of the clothes", {
    navy: 1,
    red: 1,
    green: 1,
    mustard: 1,
    white: 1,
    charcoal: 1,
    violet: 1,
  }),
} as const satisfies Record<string, ChoiceAttribute | RangeAttribute>;

/** Name of an attribute, as in {@link FACE_ATTRIBUTES}. */
export type FaceAttributeName = keyof typeof FACE_ATTRIBUTES;

type ValueOf<A> = A extends ChoiceAttribute<infer Name> ? Name : number;

/** Everything that fixes a picture but its size. */
export type FaceAttributes = { readonly [N in FaceAttributeName]: ValueOf<(typeof FACE_ATTRIBUTES)[N]> };

/**
 * The attributes of face number `index`: functions of seed, index and each attribute's name alone, so a face depends
 * neither on how many are drawn nor on what other attributes there are.
 *
 * @param seed Integer in [0, 2^53 - 1].
 * @param index Integer in [0, 2^53 - 1].
 * @throws {RangeError} If `seed` or `index` is no such integer.
 */
export function faceAttributes(seed: number, index: number): FaceAttributes {
  const drawn = Object.entries(FACE_ATTRIBUTES).map(([name, attribute]) => {
    const u = uniform(randomKey(seed, `faces/${name}`, [index]), { size: 1 })[0]!; // in [0, 1)
    return [name, attribute.kind === "choice" ? pick(attribute, u) : place(attribute, u)] as const;
  });
  return Object.fromEntries(drawn) as unknown as FaceAttributes;
}

function pick({ values, weights }: ChoiceAttribute, u: number): string {
  let left = u * weights.reduce((sum, weight) => sum + weight, 0);
  for (const [i, weight] of weights.entries()) {
    left -= weight;
    if (left < 0) return values[i]!;
  }
  return values.at(-1)!;
}

/** Rounded to what its JSON shows. */
function place({ low, high }: RangeAttribute, u: number): number {
  return Math.round((low + (high - low) * u) * 1e4) / 1e4;
}

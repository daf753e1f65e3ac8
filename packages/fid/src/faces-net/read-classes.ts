import { DataError } from "@madformer/artifacts";
import { z } from "zod";
import { outputsOf, type Label } from "./labels.js";

/** What the stage `sample` says of classes: `labels.json`. */
export const SampleLabels = z.object({
  classes: z
    .array(z.object({ label: z.int().nonnegative(), name: z.string().max(1024).optional() }))
    .min(1)
    .max(1_000_000),
  labels: z.record(z.string().regex(/^\d{1,15}$/), z.int().nonnegative()),
});
export type SampleLabels = z.infer<typeof SampleLabels>;

/** What a class wants of one attribute: where the network says it, and the position of the value. */
interface Wanted {
  readonly attribute: string;
  /** The first of the attribute's outputs, and how many it has. */
  readonly start: number;
  readonly count: number;
  readonly value: number;
}

/** Images of one class, and how many the network reads as what they were to be. */
export interface ClassTally {
  readonly label: number;
  readonly name: string;
  images: number;
  read: number;
}

/**
 * Counts how often a network reads, in an image, the class that was asked for: all attributes that the class' name
 * lists, each by its likeliest value.
 */
export class ClassReader {
  readonly tallies: readonly ClassTally[];
  /** By attribute: images that want a value of it, and those whose likeliest value that is. */
  readonly attributes = new Map<string, { images: number; read: number }>();
  private readonly wanted = new Map<number, readonly Wanted[]>();
  private readonly byLabel: ReadonlyMap<number, ClassTally>;

  /**
   * @param labels What the network's head says.
   * @throws {DataError} If a class has no name such as `hat=cap glasses=none`, or the network does not know a value.
   */
  constructor(labels: readonly Label[], { classes }: SampleLabels) {
    const places = placesOf(labels);
    this.tallies = classes.map(({ label, name = "" }) => {
      this.wanted.set(label, wantedOf(name, label, places));
      return { label, name, images: 0, read: 0 };
    });
    this.byLabel = new Map(this.tallies.map((tally) => [tally.label, tally]));
  }

  /**
   * Adds an image.
   *
   * @param label The class that was asked for.
   * @param said All that the network says of it.
   * @throws {DataError} If there is no such class.
   */
  add(label: number, said: Float32Array): void {
    const [tally, wanted] = [this.byLabel.get(label), this.wanted.get(label)];
    if (!tally || !wanted)
      throw new DataError(`Cannot read classes: an image is of class ${label}, which is not listed`);
    const hits = wanted.map(({ attribute, start, count, value }) => {
      const ys = said.subarray(start, start + count);
      const hit = ys.every((y) => y <= ys[value]!);
      const sums = this.attributes.get(attribute) ?? { images: 0, read: 0 };
      this.attributes.set(attribute, { images: sums.images + 1, read: sums.read + (hit ? 1 : 0) });
      return hit;
    });
    tally.images++;
    if (hits.every(Boolean)) tally.read++;
  }
}

type Places = ReadonlyMap<string, { readonly start: number; readonly values: readonly string[] }>;

function placesOf(labels: readonly Label[]): Places {
  let at = 0;
  return new Map(
    labels.flatMap((label) => {
      const start = at;
      at += outputsOf(label);
      return label.kind === "classes" ? [[label.name, { start, values: label.values }] as const] : [];
    }),
  );
}

function wantedOf(name: string, label: number, places: Places): Wanted[] {
  return name.split(" ").map((part) => {
    const [, attribute = "", word = ""] = /^([^=]+)=(.+)$/.exec(part) ?? [];
    const place = places.get(attribute);
    const value = place?.values.indexOf(word) ?? -1;
    if (!place || value < 0)
      throw new DataError(
        `Cannot read class ${label}: ${JSON.stringify(part)} is nothing that the network knows, expected attributes of ${[...places.keys()].join(", ")}, such as hat=cap`,
      );
    return { attribute, start: place.start, count: place.values.length, value };
  });
}

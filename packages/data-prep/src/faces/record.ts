import { z } from "zod";
import { FACE_ATTRIBUTES, faceAttributes, type FaceAttributes } from "./attributes.js";

const Attributes = z.strictObject(
  Object.fromEntries(
    Object.entries(FACE_ATTRIBUTES).map(([name, attribute]) => [
      name,
      attribute.kind === "choice" ? z.enum(attribute.values) : z.number().min(attribute.low).max(attribute.high),
    ]),
  ),
) as unknown as z.ZodType<FaceAttributes>;

/** What is recorded of a drawn face beside its picture: the sample's `json`. */
export const FaceRecord = z
  .strictObject({
    seed: z.int().nonnegative().describe("Seed of the data set"),
    index: z.int().nonnegative().describe("Number of the face"),
    attributes: Attributes.describe("What was drawn"),
  })
  .readonly();
export type FaceRecord = z.infer<typeof FaceRecord>;

/** The record of face number `index`; see {@link faceAttributes}. */
export function faceRecord(seed: number, index: number): FaceRecord {
  return { seed, index, attributes: faceAttributes(seed, index) };
}

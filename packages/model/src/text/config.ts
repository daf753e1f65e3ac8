import { z } from "zod";

/** Which tokens name a class, where they follow no rule. */
const Words = z.strictObject({
  begin: z.int().nonnegative().describe("Token before every text"),
  padding: z.int().nonnegative().optional().describe("Token in front of a text that is too short"),
  classes: z.array(z.int().nonnegative()).min(1).readonly().describe("Token of class 0, 1, ..."),
});

/** What a model is told in words: the class of an image, as tokens in front of those of the image. */
export const TextConfig = z
  .strictObject({
    classes: z.int().positive().default(1000).describe("Classes of images; labels run from 0"),
    tokens: z.int().min(2).max(4096).default(2).describe("Text tokens of an image: one that begins it, then the class"),
    vocabulary: z.int().min(2).default(128_256).describe("Rows of the table of embeddings"),
    words: z
      .union([z.enum(["llama-3", "numbers"]), Words])
      .default("llama-3")
      .describe(
        "Tokens of a class: those that Llama 3 has for its number in digits, as the released code; its number itself, from 1 on, " +
          "after a token 0; or those of a list",
      ),
    zeroRow: z
      .int()
      .nonnegative()
      .nullable()
      .default(128_004)
      .describe("Row of the table that is 0 and stays so; null for none"),
    ropeTheta: z.number().positive().default(10_000).describe("Base of the frequencies of the text's rotary embedding"),
    head: z
      .boolean()
      .default(true)
      .describe("Whether there is a head that predicts the next token; without it there is no text loss"),
    sampled: z
      .enum(["first-block", "as-trained"])
      .default("as-trained")
      .describe(
        "With denoisingMlp, what diffusion layers see of the text in sampling: what the released code shows them, for the first " +
          "block text that has seen the block's noise, then none (spec section 31.25); or the text, as in training",
      ),
  })
  .refine((c) => c.zeroRow === null || c.zeroRow < c.vocabulary, {
    path: ["zeroRow"],
    error: "zeroRow must be a row of the vocabulary, or null",
  })
  .refine((c) => c.words !== "numbers" || (c.tokens === 2 && c.vocabulary > c.classes), {
    path: ["words"],
    error: 'words "numbers" are for two tokens, and a vocabulary of one more than there are classes',
  })
  .refine((c) => c.words !== "llama-3" || c.classes <= 1000, {
    path: ["classes"],
    error: 'words "llama-3" name 1000 classes: a larger number is no single token',
  })
  .refine(
    ({ words, classes, vocabulary }) =>
      typeof words === "string" ||
      (words.classes.length >= classes &&
        [words.begin, words.padding ?? 0, ...words.classes].every((token) => token < vocabulary)),
    { path: ["words"], error: "words must name every class, by tokens of the vocabulary" },
  )
  .readonly();
export type TextConfig = z.infer<typeof TextConfig>;

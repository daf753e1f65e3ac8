import type { TextConfig } from "./config.js";
import { LLAMA3_BEGIN, LLAMA3_DIGITS, LLAMA3_PADDING } from "./llama3-digits.js";

/** Tokens that make texts: of each class, before it, and in front of what is too short. */
function wordsOf({ words, classes }: TextConfig) {
  if (words === "llama-3") return { begin: LLAMA3_BEGIN, padding: LLAMA3_PADDING, classes: LLAMA3_DIGITS };
  if (words === "numbers")
    return { begin: 0, padding: undefined, classes: Array.from({ length: classes }, (_, i) => i + 1) };
  return words;
}

/**
 * The text of images: one row of tokens for each, padded on the left.
 *
 *     [padding ... padding, begin, class]
 *
 * Source: spec section 21.
 *
 * @param labels Classes, from 0.
 * @returns (N, tokens) int32.
 * @throws {RangeError} If a label is no class of the model, or the words do not fit its vocabulary.
 */
export function classTokens(text: TextConfig, labels: readonly number[]): Int32Array {
  const { begin, padding, classes } = wordsOf(text);
  const tokens = new Int32Array(labels.length * text.tokens);
  labels.forEach((label, i) => {
    const word = Number.isInteger(label) && label < text.classes ? classes[label] : undefined;
    if (word === undefined)
      throw new RangeError(`Cannot name class ${label}: the model has classes from 0 to ${text.classes - 1}`);
    const row = [...Array<number | undefined>(text.tokens - 2).fill(padding), begin, word];
    for (const [j, token] of row.entries()) {
      if (token === undefined)
        throw new RangeError(`Cannot fill ${text.tokens} text tokens: the model's words have no padding`);
      if (token >= text.vocabulary)
        throw new RangeError(
          `Cannot name class ${label}: its token ${token} is none of the vocabulary of ${text.vocabulary}`,
        );
      tokens[i * text.tokens + j] = token;
    }
  });
  return tokens;
}

import type { TensorData } from "@madformer/engine";
import type { WithText } from "../text/embedding.js";
import type { KeyValues } from "./key-value-cache.js";

type Arrays = Readonly<Record<string, Float32Array>>;

/** What one text leaves: see `textProgram`. */
export interface TextState {
  readonly keys: Arrays;
  readonly values: Arrays;
  readonly words: Float32Array | undefined;
}

/** What the first block of any image of a text begins with: see `firstProgram`. */
export interface FirstState {
  readonly condition: Float32Array;
  readonly keys: Arrays;
  readonly values: Arrays;
}

/** Makes the states of a text. */
export interface TextRuns {
  text(tokens: Int32Array): Promise<TextState>;
  first(text: TextState): Promise<FirstState>;
}

/** The texts of a batch. Arrays are of all its images, one after another. */
export interface BatchTexts {
  /** (N·H, tokens, D) by layer. */
  readonly seen: KeyValues;
  /** (N, tokens, C), where a text goes on with a block's tokens. */
  readonly words: Float32Array | undefined;
  /** (N, M, C) and, by layer, (N·H, M, D): of the first block. */
  first(): Promise<FirstState>;
}

/**
 * The texts of a batch's images, each computed once however many images have it, and kept while batches have it: images
 * that are sorted by class compute each class once in a whole run.
 *
 * Source: spec section 32.
 */
export class Texts {
  private states = new Map<string, { readonly text: TextState; first?: FirstState }>();

  constructor(
    private readonly config: WithText,
    private readonly runs: TextRuns,
  ) {}

  /** @param tokens (N, tokens) int32. */
  async of(tokens: Int32Array): Promise<BatchTexts> {
    const { tokens: Lt } = this.config.text;
    const rows = Array.from({ length: tokens.length / Lt }, (_, i) => tokens.slice(i * Lt, (i + 1) * Lt));
    const before = this.states;
    this.states = new Map();
    for (const row of rows) {
      const key = row.join();
      if (!this.states.has(key)) this.states.set(key, before.get(key) ?? { text: await this.runs.text(row) });
    }
    const ofImages = rows.map((row) => this.states.get(row.join())!);
    const texts = ofImages.map(({ text }) => text);
    const [words] = texts;
    return {
      seen: { keys: sideBySide(texts.map(({ keys }) => keys)), values: sideBySide(texts.map(({ values }) => values)) },
      words: words?.words && joined(texts.map((text) => text.words!)),
      first: async () => {
        for (const state of ofImages) state.first ??= await this.runs.first(state.text);
        const firsts = ofImages.map(({ first }) => first!);
        return {
          condition: joined(firsts.map(({ condition }) => condition)),
          keys: sideBySide(firsts.map(({ keys }) => keys)),
          values: sideBySide(firsts.map(({ values }) => values)),
        };
      },
    };
  }
}

/** Arrays as a program gave them. */
export function arraysOf(part: Readonly<Record<string, TensorData>> | undefined): Record<string, Float32Array> {
  return { ...part } as Record<string, Float32Array>;
}

/**
 * Checks the texts of a batch.
 *
 * @throws {RangeError} If there are none for a model that wants some, or too many, or a token is none of the
 *   vocabulary.
 */
export function checkTexts(
  { text: { tokens, vocabulary } }: WithText,
  text: Int32Array | undefined,
  N: number,
): Int32Array {
  if (text?.length !== N * tokens)
    throw new RangeError(
      `Cannot sample: ${text ? `the texts have ${text.length} tokens` : "the images have no texts"}, expected (${N}, ${tokens})`,
    );
  const bad = text.find((token) => !(token >= 0 && token < vocabulary));
  if (bad !== undefined)
    throw new RangeError(`Cannot sample: token ${bad} is none of the vocabulary, expected 0 to ${vocabulary - 1}`);
  return text;
}

function sideBySide(parts: readonly Arrays[]): Record<string, Float32Array> {
  return Object.fromEntries(
    Object.keys(parts[0] ?? {}).map((layer) => [layer, joined(parts.map((part) => part[layer]!))]),
  );
}

function joined(parts: readonly Float32Array[]): Float32Array {
  const result = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    result.set(part, at);
    at += part.length;
  }
  return result;
}

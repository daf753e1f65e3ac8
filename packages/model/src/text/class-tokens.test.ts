import { classTokens } from "./class-tokens.js";
import { TextConfig } from "./config.js";

describe("classTokens()", () => {
  test("are what Llama 3 makes of the number in digits, after its first token", () => {
    expect([...classTokens(TextConfig.parse({}), [0, 11, 999])]).toEqual([128_000, 15, 128_000, 806, 128_000, 5500]);
  });

  test("are padded on the left", () => {
    expect([...classTokens(TextConfig.parse({ tokens: 4 }), [100])]).toEqual([128_001, 128_001, 128_000, 1041]);
    const words = { begin: 1, classes: [2, 3] };
    const text = TextConfig.parse({ classes: 2, tokens: 3, vocabulary: 4, zeroRow: null, words });
    expect(() => classTokens(text, [0])).toThrow("Cannot fill 3 text tokens: the model's words have no padding");
  });

  test("are numbers from 1 on, for words that are numbers", () => {
    const text = TextConfig.parse({ classes: 3, vocabulary: 4, words: "numbers", zeroRow: null });
    expect([...classTokens(text, [2, 0])]).toEqual([0, 3, 0, 1]);
  });

  test.each([-1, 3, 1.5, NaN])("refuse the class %s of three", (label) => {
    const text = TextConfig.parse({ classes: 3, vocabulary: 4, words: "numbers", zeroRow: null });
    expect(() => classTokens(text, [label])).toThrow(
      new RangeError(`Cannot name class ${label}: the model has classes from 0 to 2`),
    );
  });

  test("refuse a token that the model's table does not have", () => {
    const text = TextConfig.parse({ vocabulary: 100, zeroRow: null });
    expect(() => classTokens(text, [0])).toThrow(
      "Cannot name class 0: its token 128000 is none of the vocabulary of 100",
    );
  });
});

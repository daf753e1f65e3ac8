import { Tokens } from "./tokens.js";

const [READ, WRITE] = ["r".repeat(16), "w".repeat(16)];

describe("Tokens", () => {
  test("say what a header may do", () => {
    const tokens = new Tokens(READ, WRITE);
    expect(tokens.accessOf(`Bearer ${READ}`)).toBe("read");
    expect(tokens.accessOf(`bearer  ${WRITE}`)).toBe("read-write");
    for (const header of [
      undefined,
      "",
      "Bearer",
      "Bearer ",
      READ,
      `Basic ${READ}`,
      `Bearer ${READ}x`,
      `Bearer ${READ.slice(1)}`,
    ])
      expect(tokens.accessOf(header)).toBe("none");
  });

  test("that are not there let nobody in", () => {
    expect(new Tokens(undefined, WRITE).accessOf("Bearer undefined")).toBe("none");
    expect(new Tokens(undefined, WRITE).accessOf("Bearer ")).toBe("none");
    expect(new Tokens(READ, undefined).accessOf(`Bearer ${READ}`)).toBe("read");
  });

  test.each([
    [undefined, undefined, "Cannot start: there is no token"],
    [READ, READ, "Cannot start: the read token and the write token are equal"],
    ["r".repeat(15), WRITE, "Cannot use the read token: it has 15 characters, expected 16 at least"],
    [READ, "", "Cannot use the write token: it has 0 characters, expected 16 at least"],
    [READ, `${WRITE} `, "Cannot use the write token: expected printable ASCII characters without spaces"],
    [READ, `${WRITE}é`, "Cannot use the write token: expected printable ASCII characters without spaces"],
  ])("read %p and write %p are refused", (read, write, message) => {
    expect(() => new Tokens(read, write)).toThrow(message);
  });
});

import { parseSeeds } from "./seeds.js";

describe("parseSeeds()", () => {
  test("reads numbers and ranges, each seed once, in their order", () => {
    expect(parseSeeds("5, 0-3,2,9007199254740")).toEqual([5, 0, 1, 2, 3, 9007199254740]);
  });

  test.each(["", "a", "3-1", "-1", "1.5", "0-", "0-99999999", "1,,2"])("refuses %j", (text) => {
    expect(() => parseSeeds(text)).toThrow(RangeError);
  });
});

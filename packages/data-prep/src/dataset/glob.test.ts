import { globPattern, isGlob, missingFrom, splitGlob } from "./glob.js";

const fits = (glob: string, ...paths: string[]): boolean[] => paths.map((path) => globPattern(glob).test(path));

describe("globPattern()", () => {
  test("knows stars, question marks and alternatives", () => {
    expect(fits("*.tar", "a.tar", "a.tar.gz", "x/a.tar", ".tar", "atar")).toEqual([true, false, false, true, false]);
    expect(fits("**/*.tar", "a.tar", "x/a.tar", "x/y/a.tar", "x/a.zip")).toEqual([true, true, true, false]);
    expect(fits("x/**", "x/a", "x/y/a", "y/a", "x")).toEqual([true, true, false, false]);
    expect(fits("a?c", "abc", "a/c", "ac", "abbc")).toEqual([true, false, false, false]);
    expect(fits("{train,val}-*.tar", "train-1.tar", "val-.tar", "test-1.tar")).toEqual([true, true, false]);
  });

  test("counts", () => {
    expect(fits("{008..011}.tar", "007.tar", "008.tar", "010.tar", "011.tar", "012.tar", "8.tar")).toEqual([
      false,
      true,
      true,
      true,
      false,
      false,
    ]);
    expect(fits("{8..10}", "8", "08", "10", "11")).toEqual([true, false, true, false]);
    expect(fits("{3..1}", "4", "3", "2", "1", "")).toEqual([false, true, true, true, false]);
    expect(fits("{00..20..10}", "00", "0", "5", "20")).toEqual([true, false, false, true]);
    expect(fits("{1..010}", "001", "1", "010")).toEqual([true, false, true]);
    expect(() => globPattern("{0..999999}")).toThrow('"{0..999999}": its braces are more than 100000 names');
  });

  test("takes everything else as it is written", () => {
    expect(fits("a+(b).[c]^$|\\", "a+(b).[c]^$|\\", "aab")).toEqual([true, false]);
    expect(fits("a{b", "a{b", "ab")).toEqual([true, false]);
  });
});

test("missingFrom() finds what a pattern asks for one by one", () => {
  const paths = ["00.tar", "01.tar", "03.tar", "a/x.tar", "c/x.tar"];
  expect(missingFrom(paths, "{00..01}.tar")).toBeUndefined();
  expect(missingFrom(paths, "{00..03}.tar")).toBe("02.tar");
  expect(missingFrom(paths, "{03..00}.tar")).toBe("02.tar");
  expect(missingFrom(paths, "{a,b}/x.tar")).toBe("b/x.tar");
  expect(missingFrom(paths, "{a,b}/*.tar")).toBeUndefined(); // it allows both
  expect(missingFrom(paths, "{00..02}*.{tar,zip}")).toBe("02*.{tar,zip}");
  expect(missingFrom(paths, "{00..01}*.{tar,zip}")).toBeUndefined();
  expect(missingFrom(["x1/0.tar", "x1/1.tar", "x2/0.tar"], "x{1..2}/{0..1}.tar")).toBe("x2/1.tar");
  expect(missingFrom(paths, "*.tar")).toBeUndefined();
  expect(() => missingFrom([], "{0..999}{0..999}")).toThrow("are more than 100000 names");
});

test("isGlob() and splitGlob() tell folders from patterns", () => {
  expect(["a/b.tar", "a/*.tar", "a/{1,2}", "a?"].map(isGlob)).toEqual([false, true, true, true]);
  expect(splitGlob("/data/x/*/y.tar")).toEqual({ folder: "/data/x", pattern: "*/y.tar" });
  expect(splitGlob("*.tar")).toEqual({ folder: ".", pattern: "*.tar" });
  expect(splitGlob("/*.tar")).toEqual({ folder: "/", pattern: "*.tar" });
  expect(splitGlob("../x/{1..2}.tar")).toEqual({ folder: "../x", pattern: "{1..2}.tar" });
});

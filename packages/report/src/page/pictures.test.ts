import type { Run } from "../run.js";
import { fitted, frame, pictureRules, tile } from "./pictures.js";

const picture = (width: number) => ({ src: "data:,", width, height: width, reduced: 1 });
const rulesOf = (parts: Partial<Run>): string =>
  pictureRules({ samples: [], examples: [], film: { frames: [], of: 0 }, ...parts } as unknown as Run);
const tiles = (width: number): string[] => rulesOf({ samples: [{ seed: "0", picture: picture(width) }] }).split("\n");

describe("tile()", () => {
  test("has the class its rules are written for, sizes, and an escaped text", () => {
    expect(tile(picture(64), 'a "b"').text).toBe(
      '<img class="tile-64" src="data:," width="64" height="64" alt="a &quot;b&quot;"  title="a &quot;b&quot;" />',
    );
  });
});

describe("pictureRules()", () => {
  test("enlarge small tiles by whole factors, and on dense phones by halves", () => {
    expect(tiles(64)).toEqual([
      ".tile-64 { width: 128px; image-rendering: pixelated; }",
      "@media (max-width: 40rem) { .tile-64 { width: 64px; image-rendering: pixelated; } }",
      "@media (max-width: 40rem) and (min-resolution: 2dppx) { .tile-64 { width: 96px; image-rendering: pixelated; } }",
    ]);
    expect(tiles(48)[0]).toBe(".tile-48 { width: 96px; image-rendering: pixelated; }");
  });

  test("show large tiles smoothly at the size there is room for", () => {
    expect(tiles(256)[0]).toBe(".tile-256 { width: 128px; }");
  });

  test("give a wide image the largest whole factor its column allows, and its width where not even one fits", () => {
    const rules = rulesOf({ order: picture(332) }).split("\n");
    expect(rules.slice(0, 4)).toEqual([
      ".fit-332 { width: 100%; }",
      "@container (min-width: 332px) { .fit-332 { width: 332px; image-rendering: pixelated; } }",
      "@container (min-width: 664px) { .fit-332 { width: 664px; image-rendering: pixelated; } }",
      "@container (min-width: 996px) { .fit-332 { width: 996px; image-rendering: pixelated; } }",
    ]);
    expect(rules.some((rule) => rule.includes("1328px"))).toBe(false);
    expect(fitted(picture(332), "x").text).toContain('class="fit-332"');
  });

  test("are written once for each width, by kind", () => {
    const film = { frames: [1, 2].map((step) => ({ step, picture: picture(130) })), of: 2 };
    expect(rulesOf({ film })).toBe(".frame-130 { width: 260px; image-rendering: pixelated; }");
    expect(frame(picture(130), "x").text).toContain('class="frame-130"');
  });
});

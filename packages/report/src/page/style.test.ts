import { PALETTES, STYLE } from "./style.js";

/** Contrast of two colours as WCAG 2.2 defines it, 1 to 21. */
function contrast(a: string, b: string): number {
  const [light = 0, dark = 0] = [luminance(a), luminance(b)].sort((x, y) => y - x);
  return (light + 0.05) / (dark + 0.05);
}

function luminance(color: string): number {
  const [r = 0, g = 0, b = 0] = [1, 3, 5]
    .map((at) => parseInt(color.slice(at, at + 2), 16) / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

test("contrast is that of the definition", () => expect(contrast("#000000", "#ffffff")).toBeCloseTo(21, 6));

describe.each(Object.entries(PALETTES))("the %s palette", (_, palette) => {
  test.each(["ink", "soft", "accent", "alarm"] as const)("lets %s be read on either surface", (color) => {
    for (const surface of [palette.paper, palette.card])
      expect(contrast(palette[color], surface)).toBeGreaterThanOrEqual(4.5); // WCAG AA, text
  });

  test.each(["c0", "c1", "c2", "c3", "c4", "c5"] as const)("lets curve %s be seen", (color) => {
    expect(contrast(palette[color], palette.paper)).toBeGreaterThanOrEqual(3); // WCAG AA, graphics
  });
});

test("the style loads nothing", () => expect(STYLE).not.toMatch(/url\(|@import|@font-face|https?:/));

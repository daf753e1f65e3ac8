import type { FaceAttributes } from "../attributes.js";
import { COLORS, mix, type FaceColors } from "../colors.js";
import type { Head } from "../head.js";
import { svg } from "../svg.js";

/** Neck and shoulders. They do not tilt with the head. */
export function bust(a: FaceAttributes, colors: FaceColors, head: Head): string {
  const color = COLORS.clothing[a.clothingColor];
  const [shade, light] = [mix(color, "#140a1e", 0.32), mix(color, "#ffffff", 0.22)];
  const { chin } = head;
  const outline = "M37.5 72H62.5V88Q66 92 72 94V101H28V94Q34 92 37.5 88Z";
  const neck =
    svg`<path d="${outline}" fill="${mix(colors.skin, colors.skinShade, 0.25)}"/><clipPath id="neck"><path d="${outline}"/></clipPath>` +
    svg`<ellipse cx="${head.x}" cy="${chin - 2}" rx="17" ry="9" fill="${mix(colors.skinShade, colors.skinLine, 0.25)}" clip-path="url(#neck)"/>`;
  return neck + svg`<g fill="url(#cloth)">${garment(a, shade, light, colors)}</g>`;
}

function garment(a: FaceAttributes, shade: string, light: string, colors: FaceColors): string {
  const shoulders = (neckline: string) =>
    svg`<path d="M-1 101V99Q8 93 24 91L35 88.5${neckline}L76 91Q92 93 101 99V101Z"/>`;
  switch (a.clothing) {
    case "crew":
      return (
        shoulders("Q50 101 65 88.5") +
        svg`<path d="M35 88.5Q50 101 65 88.5" fill="none" stroke="${shade}" stroke-width="2.2"/>`
      );
    case "vneck":
      return (
        shoulders("L50 103L65 88.5") +
        svg`<path d="M35 88.5L50 103L65 88.5" fill="none" stroke="${shade}" stroke-width="2.2"/>`
      );
    case "collar":
      return (
        shoulders("L50 99L65 88.5") +
        svg`<path d="M36 86L50 98L43 103L32 90ZM64 86L50 98L57 103L68 90Z" fill="${light}" stroke="${shade}" stroke-width=".8"/>`
      );
    case "turtleneck":
      return (
        svg`<path d="M36.5 84.5Q50 90 63.5 84.5L65 92Q50 98 35 92Z" fill="${light}"/>` +
        shoulders("Q50 96 65 88.5") +
        svg`<path d="M35.5 90.5Q50 96.5 64.5 90.5" fill="none" stroke="${shade}" stroke-width="1.4"/>`
      );
    case "hoodie":
      return (
        shoulders("Q50 104 65 88.5") +
        svg`<path d="M33 84Q24 88 25 95Q38 101 50 102Q62 101 75 95Q76 88 67 84Q66 92 50 98Q34 92 33 84Z" fill="${light}"/>` +
        svg`<path d="M33 84Q34 92 50 98Q66 92 67 84" fill="none" stroke="${shade}" stroke-width="1.8"/>` +
        svg`<path d="M43 97V101M57 97V101" stroke="${mix(colors.skinLight, "#ffffff", 0.8)}" stroke-width="1.3"/>`
      );
  }
}

import type { FaceAttributes } from "../attributes.js";
import { COLORS, mix } from "../colors.js";
import type { Head } from "../head.js";
import { svg } from "../svg.js";

/** Where hair may be seen below a hat, as y; undefined without one that covers the skull. */
export function brim(a: FaceAttributes): number | undefined {
  return a.hat === "beanie" || a.hat === "cap" ? 30 : undefined;
}

export function hat(a: FaceAttributes, head: Head): string {
  if (a.hat === "none") return "";
  const { x, w, top } = head;
  const color = COLORS.clothing[a.clothingColor];
  const [shade, light] = [mix(color, "#140a1e", 0.3), mix(color, "#ffffff", 0.25)];
  const turn = a.headTurn * 3;
  switch (a.hat) {
    case "beanie":
      return (
        svg`<path d="M${x - w - 2.5} 31C${x - w - 3} 14 ${x - w * 0.7} ${top - 12} ${x} ${top - 12}S${x + w + 3} 14 ${x + w + 2.5} 31Z" fill="url(#cloth)"/>` +
        svg`<path d="M${x - w - 3.6} 28Q${x} 21 ${x + w + 3.6} 28Q${x + w + 5} 33 ${x + w + 3} 37Q${x} 30 ${x - w - 3} 37Q${x - w - 5} 33 ${x - w - 3.6} 28Z" fill="${light}"/>`
      );
    case "cap":
      return (
        svg`<path d="M${x - w - 2} 32C${x - w - 2} 12 ${x - w * 0.7} ${top - 9} ${x} ${top - 9}S${x + w + 2} 12 ${x + w + 2} 32Q${x} 25 ${x - w - 2} 32Z" fill="url(#cloth)"/>` +
        svg`<path d="M${x - w + 1} 29Q${x + turn} 20 ${x + w - 1} 29Q${x + w + turn * 2} 36 ${x + w * 0.7 + turn * 2} 37Q${x + turn * 2} 30 ${x - w * 0.7 + turn * 2} 37Q${x - w + turn * 2} 36 ${x - w + 1} 29Z" fill="${shade}"/>`
      );
    case "headband":
      return svg`<path d="M${x - w - 1.6} 31Q${x + turn} 21 ${x + w + 1.6} 31V37Q${x + turn} 28 ${x - w - 1.6} 37Z" fill="${light}" stroke="${shade}" stroke-width=".6"/>`;
  }
}

import type { FaceAttributes } from "../attributes.js";
import { COLORS, mix } from "../colors.js";
import type { Head } from "../head.js";
import { svg } from "../svg.js";

/** Where hair may be seen below a hat, as a path; empty if none covers the skull. */
export function belowHat(a: FaceAttributes, { x, w }: Head): string {
  if (a.hat !== "beanie" && a.hat !== "cap") return "";
  return svg`M${x} 28L${x - w - 2} 33C${x - w - 9} 35 ${x - w - 13} 41 ${x - w - 14} 50L-30 130H130L${x + w + 14} 50C${x + w + 13} 41 ${x + w + 9} 35 ${x + w + 2} 33Z`;
}

/** @param volume How far the hair stands out at the temples. */
export function hat(a: FaceAttributes, head: Head, volume: number): string {
  if (a.hat === "none") return "";
  const { x, top } = head;
  const w = head.w - 1.5;
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
      return band(
        x,
        x + turn,
        head.w * 0.91 + volume,
        head.w * 0.955 + volume,
        svg`fill="${light}" stroke="${shade}" stroke-width=".6"`,
      );
  }
}

function band(x: number, front: number, upper: number, lower: number, paint: string): string {
  const [left, right] = [svg`${x - lower} 36.5L${x - upper} 31`, svg`${x + lower} 36.5`];
  return svg`<path d="M${left}Q${front} 22 ${x + upper} 31L${right}Q${front} 29 ${x - lower} 36.5Z" ${paint}/>`;
}

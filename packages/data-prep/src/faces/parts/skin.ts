import type { FaceAttributes } from "../attributes.js";
import { mix, type FaceColors } from "../colors.js";
import type { Head } from "../head.js";
import { svg } from "../svg.js";

const SIDES = [-1, 1] as const;

function earAt(a: FaceAttributes, head: Head, side: -1 | 1): readonly [x: number, y: number] {
  return [head.x + side * (head.w + 0.6) - a.headTurn * 1.4, 52 - a.headNod * 0.8];
}

export function ears(a: FaceAttributes, colors: FaceColors, head: Head): string {
  return SIDES.map((side) => {
    const [x, y] = earAt(a, head, side);
    return (
      svg`<ellipse cx="${x}" cy="${y}" rx="4.4" ry="7" fill="${side * a.light > 0 ? colors.skin : mix(colors.skin, colors.skinShade, 0.5)}"/>` +
      svg`<ellipse cx="${x + side * 0.3}" cy="${y}" rx="2" ry="4" fill="${colors.skinShade}"/>`
    );
  }).join("");
}

/** They hang before the hair, where it is long. */
export function earrings(a: FaceAttributes, head: Head): string {
  return SIDES.map((side) => {
    const [x, y] = earAt(a, head, side);
    return earring(a, x + side, y + 7);
  }).join("");
}

function earring(a: FaceAttributes, x: number, y: number): string {
  switch (a.earrings) {
    case "none":
      return "";
    case "studs":
      return svg`<circle cx="${x}" cy="${y - 0.6}" r="1.7" fill="#f3f6ff" stroke="#8fa3c8" stroke-width=".6"/>`;
    case "hoops":
      return svg`<circle cx="${x}" cy="${y + 2.6}" r="3.6" fill="none" stroke="#e0ac3c" stroke-width="1.5"/>`;
  }
}

export function skull(head: Head): string {
  return svg`<path d="${head.outline}" fill="url(#skin)"/><path d="${head.outline}" fill="url(#jawShade)"/>`;
}

export function complexion(a: FaceAttributes, colors: FaceColors, head: Head): string {
  const red = mix(colors.skin, "#e2484f", 0.7 - 0.25 * a.skinTone);
  const y = head.eyeY + 13;
  const cheeks = SIDES.map((side) => {
    const x = head.faceX + side * (a.eyeSpacing + 3);
    const dots =
      a.freckles === "none"
        ? ""
        : FRECKLES.map(([dx, dy]) => svg`<circle cx="${x + side * dx}" cy="${y - 2.5 + dy}" r=".9"/>`).join("");
    return (
      svg`<ellipse cx="${x}" cy="${y}" rx="7.5" ry="5.5" fill="url(#blush)" fill-opacity="${a.blush}"/>` +
      (dots && svg`<g fill="${mix(colors.skin, "#5f2410", 0.6)}">${dots}</g>`)
    );
  });
  return (
    svg`<radialGradient id="blush"><stop stop-color="${red}" stop-opacity=".9"/><stop offset="1" stop-color="${red}" stop-opacity="0"/></radialGradient>${cheeks}` +
    svg`<ellipse cx="${head.mouthX}" cy="${head.mouthY + 6.4}" rx="5" ry="1.6" fill="${colors.skinShade}" fill-opacity=".45"/>`
  );
}

const FRECKLES = [
  [-6.5, 0.6],
  [-4, -1],
  [-3.4, 2],
  [-1, 0.4],
  [0.8, 2.6],
  [1.8, -1],
  [4, 1],
] as const;

/** Lines of the forehead, beside the mouth and below the eyes, deeper with age. */
export function ageLines(a: FaceAttributes, colors: FaceColors, head: Head): string {
  const { faceX: x, mouthX, mouthY, noseX, noseY, eyeY } = head;
  const brow = eyeY - 15 - a.browHeight;
  const folds = SIDES.map((side) => {
    const eye = x + side * a.eyeSpacing;
    return (
      svg`M${noseX + side * (a.noseWidth + 2.2)} ${noseY}Q${mouthX + side * 11} ${noseY + 3} ${mouthX + side * 12} ${mouthY}` +
      svg`M${eye - 4.5} ${eyeY + 7}Q${eye} ${eyeY + 9} ${eye + 4.5} ${eyeY + 7}`
    );
  });
  const forehead = svg`M${x - 11} ${brow}Q${x} ${brow - 2} ${x + 11} ${brow}M${x - 8} ${brow - 4}Q${x} ${brow - 6} ${x + 8} ${brow - 4}`;
  return (
    svg`<path d="${forehead}${folds}" fill="none" stroke="${colors.skinLine}" stroke-width="1.25"` +
    svg` stroke-linecap="round" stroke-opacity="${0.7 * a.ageLines ** 1.5}"/>`
  );
}

export function nose(a: FaceAttributes, colors: FaceColors, head: Head): string {
  const { noseX: x, noseY: y, faceX, eyeY } = head;
  const w = a.noseWidth;
  const shade = a.light > 0 ? -1 : 1;
  return (
    svg`<path d="M${faceX + shade * 1.6} ${eyeY - 1}Q${x + shade * 1.5} ${y - 6} ${x + shade * w} ${y - 0.6}` +
    svg`Q${x + shade * w * 0.9} ${y + 2} ${x} ${y + 1.9}Q${x + shade * 0.4} ${y - 6} ${faceX + shade * 1.6} ${eyeY - 1}Z" fill="${colors.skinShade}" fill-opacity=".55"/>` +
    svg`<path d="M${x - w} ${y - 0.6}Q${x - w} ${y + 2} ${x - w * 0.4} ${y + 1.4}Q${x} ${y + 2.6} ${x + w * 0.4} ${y + 1.4}Q${x + w} ${y + 2} ${x + w} ${y - 0.6}"` +
    svg` fill="none" stroke="${colors.skinLine}" stroke-opacity=".85" stroke-width="1.5" stroke-linecap="round"/>` +
    svg`<ellipse cx="${x - shade * w * 0.25}" cy="${y - 1.6}" rx="${w * 0.42}" ry="1.5" fill="${colors.skinLight}" fill-opacity=".75"/>`
  );
}

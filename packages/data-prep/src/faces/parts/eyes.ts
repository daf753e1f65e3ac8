import type { FaceAttributes } from "../attributes.js";
import { COLORS, mix, type FaceColors } from "../colors.js";
import type { Head } from "../head.js";
import { svg } from "../svg.js";

const SIDES = [-1, 1] as const;

/** Middle of an eye, and how much narrower than from the front it is seen. */
function eyeAt(a: FaceAttributes, head: Head, side: -1 | 1): readonly [x: number, squeeze: number] {
  const squeeze = 1 - 0.07 * Math.max(0, side * a.headTurn);
  return [head.faceX + side * a.eyeSpacing * squeeze, squeeze];
}

/** White, iris, pupil, lid. */
export function eyes(a: FaceAttributes, colors: FaceColors, head: Head): string {
  const iris = COLORS.iris[a.eyeColor];
  const y = head.eyeY;
  return SIDES.map((side) => {
    const [x, squeeze] = eyeAt(a, head, side);
    const rx = 6.3 * a.eyeSize * squeeze;
    const ry = 5.2 * a.eyeSize * a.eyeOpenness;
    const r = 3.7 * a.eyeSize;
    const lookX = x + a.gaze * 2 * a.eyeSize;
    const outer = y - 0.6; // the outer corner is a little higher
    const [left, right] = side < 0 ? [outer, y + 0.6] : [y + 0.6, outer];
    const upper = svg`M${x - rx} ${left}C${x - 0.55 * rx} ${y - ry * 1.25} ${x + 0.55 * rx} ${y - ry * 1.25} ${x + rx} ${right}`;
    const shape = svg`${upper}C${x + 0.5 * rx} ${y + ry} ${x - 0.5 * rx} ${y + ry} ${x - rx} ${left}Z`;
    const id = side < 0 ? "eyeL" : "eyeR";
    return (
      svg`<clipPath id="${id}"><path d="${shape}"/></clipPath>` +
      svg`<path d="${shape}" fill="#fcfaf6"/><g clip-path="url(#${id})">` +
      svg`<circle cx="${lookX}" cy="${y - 0.3}" r="${r}" fill="${mix(iris, "#1a1020", 0.25)}"/>` +
      svg`<circle cx="${lookX}" cy="${y + 0.3}" r="${r * 0.8}" fill="${iris}"/>` +
      svg`<circle cx="${lookX}" cy="${y - 0.3}" r="${r * 0.48}" fill="#17111a"/>` +
      svg`<path d="${upper}" fill="none" stroke="#3a2030" stroke-opacity=".25" stroke-width="3.4"/></g>` +
      svg`<circle cx="${lookX + a.light * 1.2 * a.eyeSize}" cy="${y - 1.6 * a.eyeSize}" r="${1.05 * a.eyeSize}" fill="#fff"/>` +
      svg`<path d="${upper}" fill="none" stroke="${mix(colors.skinLine, "#1c1016", 0.65)}" stroke-width="1.5" stroke-linecap="round"/>`
    );
  }).join("");
}

export function brows(a: FaceAttributes, colors: FaceColors, head: Head): string {
  const color = mix(colors.hair, "#2a1a18", 0.35);
  return SIDES.map((side) => {
    const [x, squeeze] = eyeAt(a, head, side);
    const y = head.eyeY - 9.6 - a.browHeight * 1.5;
    const [inner, outer] = [x - side * 5.6 * squeeze, x + side * 7.2 * squeeze];
    const slope = a.browAngle * 2.1;
    return (
      svg`<path d="M${inner} ${y + slope}Q${x + side * 1.5} ${y - 2.4 - 0.3 * slope} ${outer} ${y + 1.2 - slope * 0.7}"` +
      svg` fill="none" stroke="${color}" stroke-width="${a.browThickness}" stroke-linecap="round"/>`
    );
  }).join("");
}

export function glasses(a: FaceAttributes, head: Head): string {
  if (a.glasses === "none") return "";
  const y = head.eyeY + 0.6;
  const dark = a.glasses === "sunglasses";
  const frame = a.glasses === "round" ? "#8a5a2c" : "#26232b";
  const lenses = SIDES.map((side) => {
    const [x, squeeze] = eyeAt(a, head, side);
    const [rx, ry] = a.glasses === "round" ? [9.4 * squeeze, 9] : [10 * squeeze, 7.6];
    const corner = a.glasses === "round" ? rx : a.glasses === "square" ? 2.4 : 6.2;
    const temple = head.x + side * (head.w - 0.3);
    return (
      svg`<path d="M${x + side * rx} ${y - 2}L${temple} ${y - 2.6}" stroke="${frame}" stroke-width="1.7"/>` +
      svg`<rect x="${x - rx}" y="${y - ry}" width="${2 * rx}" height="${2 * ry}" rx="${corner}" ry="${Math.min(corner, ry)}"` +
      svg` fill="${dark ? "url(#shades)" : "#fff"}" fill-opacity="${dark ? 0.96 : 0.16}" stroke="${frame}" stroke-width="1.7"/>`
    );
  });
  const [left, right] = [eyeAt(a, head, -1), eyeAt(a, head, 1)];
  const inner = a.glasses === "round" ? 9.4 : 10;
  const bridge = svg`<path d="M${left[0] + inner * left[1]} ${y - 1.6}Q${head.faceX} ${y - 4} ${right[0] - inner * right[1]} ${y - 1.6}"`;
  return svg`${lenses}${bridge} fill="none" stroke="${frame}" stroke-width="1.7"/>`;
}

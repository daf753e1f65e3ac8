import type { FaceAttributes } from "./attributes.js";
import { COLORS, faceColors, mix, type FaceColors } from "./colors.js";
import { layOut } from "./head.js";
import { bust } from "./parts/clothes.js";
import { brows, eyes, glasses } from "./parts/eyes.js";
import { hair } from "./parts/hair.js";
import { belowHat, hat } from "./parts/hat.js";
import { facialHair, mouth } from "./parts/mouth.js";
import { ageLines, complexion, earrings, ears, nose, skull } from "./parts/skin.js";
import { svg } from "./svg.js";

/**
 * A face as a vector drawing: a square portrait, aligned as FFHQ's photographs are. The same attributes give the same
 * text. Shading is made with gradients, never with filters, which take librsvg most of its time.
 *
 * @param attributes See `FACE_ATTRIBUTES`. Borrowed.
 * @param sidePixels Width and height of the drawing in pixels.
 * @returns An SVG document, opaque everywhere.
 */
export function drawFace(attributes: FaceAttributes, sidePixels: number): string {
  const a = attributes;
  const colors = faceColors(a);
  const head = layOut(a);
  const { back, front, volume, coversEars } = hair(a, head);
  const below = belowHat(a, head);
  const clip = below && ` clip-path="url(#belowHat)"`;
  const tilt = svg` transform="rotate(${a.headTilt} 50 60)"`;
  const shadow = svg`<path d="${front}" transform="translate(${-0.8 * a.light} 1.8)" fill="${colors.skinLine}" fill-opacity=".3"/>`;
  return (
    svg`<svg xmlns="http://www.w3.org/2000/svg" width="${sidePixels}" height="${sidePixels}" viewBox="5 5.5 90 90">` +
    paints(a, colors, head.chin) +
    (below && svg`<clipPath id="belowHat"><path d="${below}"/></clipPath>`) +
    svg`<clipPath id="face"><path d="${head.outline}"/></clipPath>` +
    svg`<rect width="100" height="100" fill="url(#wall)"/><rect width="100" height="100" fill="url(#glow)"/>` +
    (back &&
      svg`<g${tilt}><path d="${back}" fill="url(#hair)"${clip}/><path d="${back}" fill="url(#depth)"${clip}/></g>`) +
    svg`${bust(a, colors, head)}<g${tilt}>${coversEars ? "" : ears(a, colors, head)}${skull(head)}` +
    svg`<g clip-path="url(#face)">${complexion(a, colors, head)}${ageLines(a, colors, head)}${front && shadow}</g>` +
    svg`${facialHair(a, colors, head)}${mouth(a, colors, head)}${nose(a, colors, head)}${eyes(a, colors, head)}` +
    (front && svg`<path d="${front}" fill="url(#hair)"${clip}/>`) +
    svg`${earrings(a, head)}${brows(a, colors, head)}${glasses(a, head)}${hat(a, head, volume)}</g></svg>`
  );
}

/** Gradients by the names that parts use. */
function paints(a: FaceAttributes, colors: FaceColors, chin: number): string {
  const wall = COLORS.background[a.background];
  const cloth = COLORS.clothing[a.clothingColor];
  const [lit, dim] = [50 + 34 * a.light, 50 - 34 * a.light];
  const across = svg`gradientUnits="userSpaceOnUse" x1="${lit}" y1="26" x2="${dim}" y2="78"`;
  return (
    svg`<linearGradient id="wall" x2="0" y2="1"><stop stop-color="${mix(wall, "#ffffff", 0.12)}"/><stop offset="1" stop-color="${mix(wall, "#1c1430", 0.16)}"/></linearGradient>` +
    svg`<radialGradient id="glow" gradientUnits="userSpaceOnUse" cx="${50 + 30 * a.light}" cy="22" r="62"><stop stop-color="#fff" stop-opacity="${0.6 * a.backgroundGlow}"/><stop offset="1" stop-color="#fff" stop-opacity="0"/></radialGradient>` +
    svg`<linearGradient id="skin" ${across}><stop stop-color="${colors.skinLight}"/><stop offset=".45" stop-color="${colors.skin}"/><stop offset="1" stop-color="${mix(colors.skin, colors.skinShade, 0.75)}"/></linearGradient>` +
    svg`<radialGradient id="jawShade" gradientUnits="userSpaceOnUse" cx="50" cy="48" r="${chin - 46}"><stop offset=".7" stop-color="${colors.skinShade}" stop-opacity="0"/><stop offset="1" stop-color="${colors.skinShade}" stop-opacity=".55"/></radialGradient>` +
    svg`<linearGradient id="hair" gradientUnits="userSpaceOnUse" x1="${50 + 22 * a.light}" y1="6" x2="${50 - 22 * a.light}" y2="62"><stop stop-color="${colors.hairLight}"/><stop offset=".4" stop-color="${colors.hair}"/><stop offset="1" stop-color="${mix(colors.hair, colors.hairShade, 0.6)}"/></linearGradient>` +
    svg`<linearGradient id="depth" gradientUnits="userSpaceOnUse" x1="50" y1="34" x2="50" y2="84"><stop stop-color="${colors.hairShade}" stop-opacity="0"/><stop offset="1" stop-color="${colors.hairShade}" stop-opacity=".85"/></linearGradient>` +
    svg`<linearGradient id="beard" gradientUnits="userSpaceOnUse" x1="50" y1="50" x2="50" y2="88"><stop stop-color="${mix(colors.hair, colors.hairShade, 0.2)}"/><stop offset="1" stop-color="${colors.hairShade}"/></linearGradient>` +
    svg`<linearGradient id="cloth" x2="0" y2="1"><stop stop-color="${mix(cloth, "#ffffff", 0.1)}"/><stop offset="1" stop-color="${mix(cloth, "#140a1e", 0.18)}"/></linearGradient>` +
    svg`<linearGradient id="shades" x2="0" y2="1"><stop stop-color="#15141c"/><stop offset="1" stop-color="#5a5566"/></linearGradient>`
  );
}

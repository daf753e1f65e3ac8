import type { FaceAttributes } from "../attributes.js";
import { mix, type FaceColors } from "../colors.js";
import type { Head } from "../head.js";
import { svg } from "../svg.js";

export function mouth(a: FaceAttributes, colors: FaceColors, head: Head): string {
  const { mouthX: x, mouthY: y } = head;
  const w = a.mouthWidth;
  const corner = y - 1.9 * a.smile;
  const open = Math.max(0, a.mouthOpenness - 0.35) * 16;
  const upper = y + 2.2 * a.smile - 0.22 * open;
  const lower = upper + open;
  const lip = a.lips === "natural" ? 2 : 2.6;
  const inside = svg`M${x - w} ${corner}Q${x} ${upper} ${x + w} ${corner}Q${x} ${lower} ${x - w} ${corner}Z`;
  return (
    svg`<ellipse cx="${x}" cy="${(corner + lower) / 2 + 4.6}" rx="${w * 0.5}" ry="1.6" fill="${colors.skinShade}" opacity=".5"/>` +
    svg`<path d="${inside}" fill="none" stroke="${colors.lips}" stroke-width="${2 * lip}" stroke-linejoin="round"/>` +
    svg`<clipPath id="mouth"><path d="${inside}"/></clipPath><path d="${inside}" fill="#5e1a22" stroke="${mix(colors.lips, "#3a0d14", 0.65)}" stroke-width="1" stroke-linejoin="round"/>` +
    svg`<g clip-path="url(#mouth)"><path d="M${x - w} ${corner}Q${x} ${upper} ${x + w} ${corner}Q${x} ${upper + open * 0.5} ${x - w} ${corner}Z" fill="#fbf8f2"/>` +
    svg`<ellipse cx="${x}" cy="${(corner + lower) / 2 + 1.4}" rx="${w * 0.5}" ry="${open * 0.2}" fill="#d8606a"/></g>`
  );
}

export function facialHair(a: FaceAttributes, colors: FaceColors, head: Head): string {
  const { mouthX: x, mouthY: y, chin } = head;
  const color = mix(colors.hair, colors.hairShade, 0.3);
  const w = a.mouthWidth;
  switch (a.facialHair) {
    case "none":
      return "";
    case "moustache":
      return svg`<path d="${moustache(a, head)}" fill="${color}"/>`;
    case "goatee": {
      const [left, right] = [x - w * 0.85, x + w * 0.85];
      const patch = svg`M${left} ${y + 4}Q${x} ${y + 6.5} ${right} ${y + 4}Q${right - 1} ${chin + 1.5} ${head.x} ${chin + 2.5}Q${left + 1} ${chin + 1.5} ${left} ${y + 4}Z`;
      return svg`<path d="${patch}${moustache(a, head)}" fill="${color}"/>`;
    }
    case "stubble":
      return svg`<path d="${beard(a, head, 0)}" fill="${color}" opacity=".3"/>`;
    case "beard":
      return svg`<path d="${beard(a, head, 1.6)}" fill="url(#beard)"/>`;
  }
}

function moustache(a: FaceAttributes, head: Head): string {
  const { mouthX: x, mouthY: y } = head;
  const w = a.mouthWidth * 1.05;
  const corner = y + 0.4 - 1.9 * a.smile;
  return (
    svg`M${x} ${y - 5.4}C${x + w * 0.5} ${y - 6.6} ${x + w} ${corner - 3} ${x + w + 1} ${corner + 0.4}` +
    svg`C${x + w * 0.6} ${corner + 0.4} ${x + w * 0.4} ${y - 1} ${x} ${y - 1.8}C${x - w * 0.4} ${y - 1} ${x - w * 0.6} ${corner + 0.4} ${x - w - 1} ${corner + 0.4}` +
    svg`C${x - w} ${corner - 3} ${x - w * 0.5} ${y - 6.6} ${x} ${y - 5.4}Z`
  );
}

/** From one sideburn round the jaw to the other, `grown` beyond the skin; the mouth is drawn over it. */
function beard(a: FaceAttributes, head: Head, grown: number): string {
  const { x, w, temple, chin, mouthX, mouthY } = head;
  const [side, under] = [temple + (0.46 + 0.3 * a.jaw) * (chin - temple), w * (0.4 + 0.32 * a.jaw)];
  const [out, low] = [w + 0.3 * grown, chin + grown * 1.6];
  return (
    svg`M${x - out} ${temple + 4}C${x - out} ${side + grown} ${x - under - grown} ${low} ${x} ${low}` +
    svg`S${x + out} ${side + grown} ${x + out} ${temple + 4}` +
    svg`C${x + w - 3} ${temple + 14} ${mouthX + w * 0.62} ${mouthY - 6} ${mouthX + 5} ${mouthY - 6}` +
    svg`Q${mouthX} ${mouthY - 4.6} ${mouthX - 5} ${mouthY - 6}C${mouthX - w * 0.62} ${mouthY - 6} ${x - w + 3} ${temple + 14} ${x - out} ${temple + 4}Z`
  );
}

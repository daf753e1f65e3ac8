import type { FaceAttributes } from "../attributes.js";
import { mix, type FaceColors } from "../colors.js";
import type { Head } from "../head.js";
import { svg } from "../svg.js";

/** Lips, teeth and tongue: from a closed line over a smile to a wide open mouth, without a jump. */
export function mouth(a: FaceAttributes, colors: FaceColors, head: Head): string {
  const { mouthX: x, mouthY: y } = head;
  const w = a.mouthWidth;
  const corner = y - 2.4 * a.smile;
  const open = 11 * a.mouthOpenness ** 1.6;
  const upper = y + 2.6 * a.smile - 0.22 * open; // where the curve between the corners is pulled to
  const lower = upper + open;
  const full = a.lips === "natural" ? 2.1 : 2.7;
  const [bow, side] = [(corner + upper) / 2 - full, (3 * corner + upper) / 4 - 1.2 * full];
  const lips =
    svg`M${x - w - 1} ${corner}Q${x - w * 0.5} ${side} ${x - 1.6} ${bow}Q${x} ${bow + 1.2} ${x + 1.6} ${bow}` +
    svg`Q${x + w * 0.5} ${side} ${x + w + 1} ${corner}Q${x} ${lower + 2.3 * full} ${x - w - 1} ${corner}Z`;
  const inside = svg`M${x - w} ${corner}Q${x} ${upper} ${x + w} ${corner}Q${x} ${lower} ${x - w} ${corner}Z`;
  const teeth = svg`M${x - w} ${corner}Q${x} ${upper} ${x + w} ${corner}Q${x} ${upper + open * 0.5} ${x - w} ${corner}Z`;
  return (
    svg`<path d="${lips}" fill="${colors.lips}"/><clipPath id="mouth"><path d="${inside}"/></clipPath>` +
    svg`<path d="${inside}" fill="#5e1a22" stroke="${mix(colors.lips, "#3a0d14", 0.65)}" stroke-width=".9" stroke-linejoin="round"/>` +
    svg`<g clip-path="url(#mouth)"><path d="${teeth}" fill="#fbf8f2"/>` +
    svg`<ellipse cx="${x}" cy="${(corner + lower) / 2 + 1.2}" rx="${w * 0.5}" ry="${open * 0.2}" fill="#d8606a"/></g>`
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
      return svg`<path d="${beard(a, head, 0)}" fill="${color}" fill-opacity=".42"/>`;
    case "beard":
      return svg`<path d="${beard(a, head, 1.6)}" fill="url(#beard)"/>`;
  }
}

function moustache(a: FaceAttributes, head: Head): string {
  const { mouthX: x, mouthY: y } = head;
  const w = a.mouthWidth * 1.05;
  const corner = y + 0.4 - 2.4 * a.smile;
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

import type { FaceAttributes } from "../attributes.js";
import type { Head } from "../head.js";
import { svg } from "../svg.js";

/** Outlines of the hair: `back` lies behind neck and head, `front` before the head. */
export interface Hair {
  readonly back: string;
  readonly front: string;
  /** How far it stands out at the temples. */
  readonly volume: number;
  readonly coversEars: boolean;
}

export function hair(a: FaceAttributes, head: Head): Hair {
  const { x, w, top } = head;
  const part = a.headTurn * 3; // the hairline turns with the face
  const line = x + part;
  switch (a.hairStyle) {
    case "bald":
      return { coversEars: false, volume: 0.2, back: "", front: "" };
    case "buzz":
      return {
        coversEars: false,
        volume: 0.8,
        back: "",
        front: cap(head, 0.6, 1, 46) + hairline(head, line, 46, 29, 0.72),
      };
    case "short":
      return {
        coversEars: false,
        volume: 2.2,
        back: "",
        front: cap(head, 2, 5, 50) + hairline(head, line, 50, 31.5, 0.66),
      };
    case "parted":
      return {
        coversEars: false,
        volume: 2.8,
        back: "",
        front:
          cap(head, 2.6, 6, 49) +
          svg`L${x + w - 2.4} 49Q${x + w - 2.5} 41 ${line + w * 0.66} 37Q${line + 2} 36 ${line - w * 0.42} 24` +
          svg`Q${line - w * 0.7} 30 ${x - w + 2.6} 40L${x - w + 2.2} 49Z`,
      };
    case "quiff":
      return {
        coversEars: false,
        volume: 2,
        back: "",
        front:
          svg`M${x - w - 1} 49C${x - w - 2} 32 ${x - w * 0.96} 22 ${x - w * 0.76} 16C${x - w * 0.5} 6 ${x + w * 0.5} 3 ${x + w * 0.84} 13` +
          svg`C${x + w + 2} 19 ${x + w + 2} 34 ${x + w + 1} 49L${x + w - 2} 49Q${x + w - 2} 39 ${line + w * 0.72} 33` +
          svg`Q${line + w * 0.3} 24 ${line - w * 0.3} 27Q${line - w * 0.6} 28 ${line - w * 0.72} 33Q${x - w + 2} 39 ${x - w + 2} 49Z`,
      };
    case "curly":
      return {
        coversEars: false,
        volume: 6,
        back: "",
        front: curls(head) + svg`M${x - w} 47` + dome(head, 1, 2) + hairline(head, line, 47, 30, 0.7),
      };
    case "afro":
      return {
        coversEars: false,
        volume: 2.2,
        back: svg`M${x - w - 13} 36a${w + 13} 33 0 0 1 ${2 * (w + 13)} 0c2 16 -6 26 -14 28H${x - w + 1}C${x - w - 7} 62 ${x - w - 15} 52 ${x - w - 13} 36Z`,
        front: cap(head, 2, 6, 50) + hairline(head, line, 50, 30, 0.7),
      };
    case "bob":
      return {
        coversEars: true,
        volume: 5,
        back: svg`M${x - w - 6} 42C${x - w - 6} 2 ${x + w + 6} 2 ${x + w + 6} 42L${x + w + 7.5} 74Q${x + w + 3} 81 ${x + w - 8} 79H${x - w + 8}Q${x - w - 3} 81 ${x - w - 7.5} 74Z`,
        front:
          svg`M${x - w - 6} 64C${x - w - 8} ${-4} ${x + w + 8} ${-4} ${x + w + 6} 64Q${x + w - 1} 66 ${x + w - 2} 60L${x + w - 2.4} 42` +
          svg`Q${line + w * 0.6} 36 ${line} 35.5Q${line - w * 0.6} 36 ${x - w + 2.4} 42L${x - w + 2} 60Q${x - w + 1} 66 ${x - w - 6} 64Z`,
      };
    case "long":
      return {
        coversEars: true,
        volume: 5.4,
        back: svg`M${x - w - 6} 44C${x - w - 6} 2 ${x + w + 6} 2 ${x + w + 6} 44L${x + w + 8.5} 101H${x - w - 8.5}Z`,
        front: curtain(head, line, 0, 70),
      };
    case "wavy":
      return {
        coversEars: true,
        volume: 5.4,
        back:
          svg`M${x - w - 6} 42C${x - w - 6} 2 ${x + w + 6} 2 ${x + w + 6} 42C${x + w + 12} 50 ${x + w + 4} 58 ${x + w + 9} 68` +
          svg`C${x + w + 14} 78 ${x + w + 5} 84 ${x + w + 9} 101H${x - w - 9}C${x - w - 5} 84 ${x - w - 14} 78 ${x - w - 9} 68C${x - w - 4} 58 ${x - w - 12} 50 ${x - w - 6} 42Z`,
        front: curtain(head, line, -w * 0.4, 60),
      };
    case "bun":
      return {
        coversEars: false,
        volume: 1.8,
        back: svg`M${x - 9.5} ${top - 3.5}a9.5 9 0 0 1 19 0a9.5 9 0 0 1 -19 0Z`,
        front: cap(head, 1.4, 3.4, 47) + hairline(head, line, 47, 27, 0.6),
      };
  }
}

/** Over the skull from the left temple to the right one, `out` and `up` beyond the skin. */
function dome({ x, w, top }: Head, out: number, up: number): string {
  return (
    svg`C${x - w - out} 27 ${x - 0.6 * (w + out)} ${top - up} ${x} ${top - up}` +
    svg`S${x + w + out} 27 ${x + w + out} 46`
  );
}

function cap(head: Head, out: number, up: number, low: number): string {
  const { x, w } = head;
  return svg`M${x - w - out * 0.5} ${low}L${x - w - out} 46${dome(head, out, up)}L${x + w + out * 0.5} ${low}`;
}

/** Back to the left over the forehead, whose hair begins at `high`, and closed. */
function hairline({ x, w }: Head, line: number, low: number, high: number, corner: number): string {
  return (
    svg`L${x + w - 2} ${low}Q${x + w - 2} 40 ${line + w * corner} ${high + 4}Q${line + w * corner * 0.9} ${high} ${line} ${high}` +
    svg`Q${line - w * corner * 0.9} ${high} ${line - w * corner} ${high + 4}Q${x - w + 2} 40 ${x - w + 2} ${low}Z`
  );
}

/** Hair that falls to both sides from a part at `line + shift`, down to `low`. */
function curtain({ x, w }: Head, line: number, shift: number, low: number): string {
  const part = line + shift;
  const rise = -4 - 0.34 * (low - 46); // the top stays where it is, however far the sides fall
  return (
    svg`M${x - w - 6} ${low}C${x - w - 7.5} ${rise} ${x + w + 7.5} ${rise} ${x + w + 6} ${low}Q${x + w + 0.5} ${low - 2} ${x + w - 1.6} ${low - 12}` +
    svg`Q${x + w - 3} 40 ${(part + x + w) / 2 + 3} 33Q${part + 4} 29 ${part} 22Q${part - 4} 29 ${(part + x - w) / 2 - 3} 33` +
    svg`Q${x - w + 3} 40 ${x - w + 1.6} ${low - 12}Q${x - w - 0.5} ${low - 2} ${x - w - 6} ${low}Z`
  );
}

function curls({ x, w, top }: Head): string {
  const bumps = 9;
  return Array.from({ length: bumps }, (_, i) => {
    const angle = Math.PI * (1.06 - (1.12 * i) / (bumps - 1));
    const [cx, cy] = [x + Math.cos(angle) * (w - 0.5), 40 - Math.sin(angle) * (40 - top - 0.5)];
    return svg`M${cx - 7} ${cy}a7 6.6 0 1 1 14 0a7 6.6 0 1 1 -14 0Z`;
  }).join("");
}

import type { FaceAttributes } from "./attributes.js";
import { svg } from "./svg.js";

/** Where things are: x to the right and y down, in hundredths of the picture's side, before the head is tilted. */
export interface Head {
  /** Middle of the skull. */
  readonly x: number;
  /** Half the skull's width, at the temples. */
  readonly w: number;
  readonly top: number;
  readonly temple: number;
  readonly chin: number;
  /** Middle of the face: the skull's, moved by turning. */
  readonly faceX: number;
  readonly eyeY: number;
  readonly noseX: number;
  readonly noseY: number;
  readonly mouthX: number;
  readonly mouthY: number;
  /** Outline of the skull without ears. */
  readonly outline: string;
}

/** Lays out a head. As in aligned photographs, eyes and mouth lie nearly at the same place in every picture. */
export function layOut(a: FaceAttributes): Head {
  const x = 50 - a.headTurn * 0.8;
  const w = a.faceWidth;
  const [top, temple, chin] = [17, 46, a.faceLength];
  const faceX = x + a.headTurn * 4;
  const nod = a.headNod * 1.5;
  const [side, under] = [temple + (0.46 + 0.3 * a.jaw) * (chin - temple), w * (0.4 + 0.32 * a.jaw)];
  return {
    x,
    w,
    top,
    temple,
    chin,
    faceX,
    eyeY: 48.5 + nod,
    noseX: faceX + a.headTurn * 1.6,
    noseY: 60.5 + nod * 1.2 + a.noseLength * 1.4,
    mouthX: faceX + a.headTurn * 0.6,
    mouthY: 70 + nod + 0.4 * (chin - 83),
    outline:
      svg`M${x - w} ${temple}C${x - w} ${temple - 18} ${x - 0.6 * w} ${top} ${x} ${top}` +
      svg`S${x + w} ${temple - 18} ${x + w} ${temple}C${x + w} ${side} ${x + under} ${chin} ${x} ${chin}` +
      svg`S${x - w} ${side} ${x - w} ${temple}Z`,
  };
}

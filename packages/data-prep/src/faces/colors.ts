import type { FaceAttributes } from "./attributes.js";

/** From fair to deep, at even distances of `skinTone`. */
const SKIN = ["#fbe1d2", "#f4caaa", "#e3aa80", "#c2875c", "#93603f", "#633f2b"] as const;

/** Colours by name. */
export const COLORS = {
  hair: {
    black: "#2b2530",
    brown: "#54372a",
    chestnut: "#85492c",
    ginger: "#cf6a2e",
    blond: "#e6bd68",
    gray: "#a9a8b0",
    rose: "#e2809c",
    teal: "#3a8f96",
  },
  iris: { brown: "#6b3f22", amber: "#b4772a", green: "#4f8f4c", blue: "#3f7fc4", gray: "#7a8a99" },
  lips: { natural: "", red: "#cf2f3c", berry: "#8e2a55" },
  background: {
    sky: "#8cc4ea",
    mint: "#95d5b8",
    sand: "#e0c391",
    coral: "#f0998a",
    lilac: "#b8a6e0",
    slate: "#7d8fa3",
    night: "#34436b",
    cream: "#f0e4cd",
  },
  clothing: {
    navy: "#2f4f8a",
    red: "#c8413f",
    green: "#3f8a5f",
    mustard: "#dea32f",
    white: "#eef0f4",
    charcoal: "#45474f",
    violet: "#7b55a8",
  },
} as const satisfies { [N in string]: Record<string, string> };

/** Colours of one face, as #rrggbb. */
export interface FaceColors {
  readonly skin: string;
  readonly skinLight: string;
  readonly skinShade: string;
  readonly skinLine: string;
  readonly hair: string;
  readonly hairLight: string;
  readonly hairShade: string;
  readonly lips: string;
}

/** Colours that follow from the attributes. */
export function faceColors(a: FaceAttributes): FaceColors {
  const at = a.skinTone * (SKIN.length - 1);
  const below = Math.min(Math.floor(at), SKIN.length - 2);
  const skin = mix(SKIN[below]!, SKIN[below + 1]!, at - below);
  const hair = COLORS.hair[a.hairColor];
  return {
    skin,
    skinLight: mix(skin, "#fff1dc", 0.32),
    skinShade: mix(skin, "#5f1d1c", 0.24),
    skinLine: mix(skin, "#3d1412", 0.5),
    hair,
    hairLight: mix(hair, "#fff0d8", 0.26),
    hairShade: mix(hair, "#120a18", 0.38),
    lips: a.lips === "natural" ? mix(skin, "#b8323f", 0.45) : COLORS.lips[a.lips],
  };
}

/** The colour a share `t` of the way from `a` to `b`, all of them #rrggbb. */
export function mix(a: string, b: string, t: number): string {
  const channel = (at: number) => {
    const [from, to] = [parseInt(a.slice(at, at + 2), 16), parseInt(b.slice(at, at + 2), 16)];
    return Math.round(from + (to - from) * t)
      .toString(16)
      .padStart(2, "0");
  };
  return `#${channel(1)}${channel(3)}${channel(5)}`;
}

import sharp from "sharp";
import { FACE_ATTRIBUTES, faceAttributes, type FaceAttributeName, type FaceAttributes } from "./attributes.js";
import { drawFace } from "./draw.js";
import { layOut } from "./head.js";
import { renderFace, renderFacePixels } from "./render.js";

const SIDE = 64;
// Nothing hides anything here: no hat on the hair, no glasses before the eyes, no hair on the chin, ears to hang things
// from.
const PLAIN: FaceAttributes = {
  ...faceAttributes(1, 0),
  skinTone: 0.3,
  hat: "none",
  glasses: "none",
  facialHair: "none",
  hairStyle: "short",
};

/** How many pixels differ by more than 20 of 255 levels in some channel: enough to be seen. */
function pixelsChanged(a: Uint8Array, b: Uint8Array): number {
  let changed = 0;
  for (let at = 0; at < a.length; at += 3)
    if ([0, 1, 2].some((channel) => Math.abs(a[at + channel]! - b[at + channel]!) > 20)) changed++;
  return changed;
}

function ends(name: FaceAttributeName): readonly (string | number)[] {
  const attribute = FACE_ATTRIBUTES[name];
  return attribute.kind === "choice" ? attribute.values : [attribute.low, attribute.high];
}

describe("drawFace()", () => {
  test.each(Object.keys(FACE_ATTRIBUTES) as FaceAttributeName[])(
    "shows %s at 64 pixels, any value from any",
    async (name) => {
      const pictures = await Promise.all(
        ends(name).map((value) => renderFacePixels({ ...PLAIN, [name]: value }, SIDE)),
      );
      for (const [i, a] of pictures.entries())
        for (const [j, b] of pictures.entries())
          if (j < i)
            expect([ends(name)[i], ends(name)[j], pixelsChanged(a, b) >= 5]).toEqual([
              ends(name)[i],
              ends(name)[j],
              true,
            ]);
    },
  );

  test("writes numbers, and nothing that leads out of the document", () => {
    for (let index = 0; index < 500; index++) {
      const text = drawFace(faceAttributes(2, index), SIDE);
      expect(text).not.toMatch(/NaN|undefined|Infinity|e-\d|-0[ "]/);
      expect(text).not.toMatch(/<(filter|image|text|use|script|style|foreignObject)|href/);
    }
  });

  test("names every gradient and clip that it uses once", () => {
    for (let index = 0; index < 500; index++) {
      const text = drawFace(faceAttributes(2, index), SIDE);
      const made = [...text.matchAll(/ id="(\w+)"/g)].map(([, id]) => id);
      expect(new Set(made).size).toBe(made.length);
      for (const [, id] of text.matchAll(/url\(#(\w+)\)/g)) expect(made).toContain(id);
    }
  });

  test("depends on attributes and size alone", () => {
    const text = drawFace(PLAIN, SIDE);
    expect(drawFace({ ...PLAIN }, SIDE)).toBe(text);
    expect(drawFace(PLAIN, 128)).toBe(text.replace('width="64" height="64"', 'width="128" height="128"'));
  });

  test("draws a smile with its corners up and its middle down", () => {
    const mouth = (smile: number) => {
      const path = /<clipPath id="mouth"><path d="M\S+ (\S+?)Q\S+ (\S+) /.exec(drawFace({ ...PLAIN, smile }, SIDE))!;
      return { corner: Number(path[1]), middle: Number(path[2]) };
    };
    expect(mouth(1).corner).toBeLessThan(mouth(-0.6).corner - 2); // y points down
    expect(mouth(1).middle).toBeGreaterThan(mouth(-0.6).middle + 2);
  });

  test("keeps eyes and mouth in their places, as aligned photographs do", () => {
    for (let index = 0; index < 500; index++) {
      const head = layOut(faceAttributes(2, index));
      expect(Math.abs(head.faceX - 50)).toBeLessThanOrEqual(4);
      expect(Math.abs(head.eyeY - 48.5)).toBeLessThanOrEqual(1.5);
      expect(Math.abs(head.mouthY - 70)).toBeLessThanOrEqual(3);
      expect(head.eyeY < head.noseY - 6 && head.noseY < head.mouthY - 4 && head.mouthY < head.chin - 8).toBe(true);
    }
  });
});

describe("renderFace()", () => {
  test("makes a WebP of the asked size, whose pixels are those of renderFacePixels()", async () => {
    const bytes = await renderFace(PLAIN, 96, 100);
    const { data, info } = await sharp(bytes).raw().toBuffer({ resolveWithObject: true });
    expect(info).toMatchObject({ width: 96, height: 96, channels: 3 });
    expect((await sharp(bytes).metadata()).format).toBe("webp");
    const pixels = await renderFacePixels(PLAIN, 96);
    expect(pixels.length).toBe(96 * 96 * 3);
    const off = pixels.reduce((sum, value, i) => sum + Math.abs(value - data[i]!), 0) / pixels.length;
    expect(off).toBeLessThan(4); // of 255: WebP halves the resolution of colours, which hurts at edges
  });

  test("makes smaller files at lower quality, and the same file again", async () => {
    const [fine, coarse, again] = await Promise.all([95, 30, 95].map((quality) => renderFace(PLAIN, SIDE, quality)));
    expect(coarse!.length).toBeLessThan(0.7 * fine!.length);
    expect(again).toEqual(fine);
  });

  test("shows the same face at every size", async () => {
    const small = await renderFacePixels(PLAIN, 32);
    const large = await sharp(await renderFacePixels(PLAIN, 128), { raw: { width: 128, height: 128, channels: 3 } })
      .resize(32, 32, { kernel: "linear" })
      .raw()
      .toBuffer();
    const off = small.reduce((sum, value, i) => sum + Math.abs(value - large[i]!), 0) / small.length;
    expect(off).toBeLessThan(4); // of 255: the two smooth edges differently
  });
});

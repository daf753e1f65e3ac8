import { resizePil, type ByteImage } from "./resize-pil.js";

const bytes = (size: number): Uint8Array => Uint8Array.from({ length: size }, (_, i) => (i * i * 7 + i * 13) % 256);
const image = (width: number, height: number, channels: number): ByteImage => ({
  data: bytes(width * height * channels),
  width,
  height,
  channels,
});

describe("resizePil()", () => {
  // Against the golden images the bytes are exact; these are the cases they do not hold.
  test("leaves an image of the same size as it is, in bytes of its own", () => {
    const source = image(3, 2, 3);
    const same = resizePil(source, { width: 3, height: 2 });
    expect(same).toEqual(source);
    expect(same.data.buffer).not.toBe(source.data.buffer);
  });

  test("leaves a side of the same size as it is", () => {
    const [tall, wide] = [image(1, 4, 1), image(4, 1, 1)];
    for (const source of [tall, wide]) source.data.set([0, 100, 200, 255]);
    // Two to one: weights 1/8, 3/8, 3/8, 1/8, cut off at the border and made to sum to one.
    const halves = [Math.round((3 * 0 + 3 * 100 + 200) / 7), Math.round((100 + 3 * 200 + 3 * 255) / 7)];
    expect([...resizePil(tall, { width: 1, height: 2 }).data]).toEqual(halves);
    expect([...resizePil(wide, { width: 2, height: 1 }).data]).toEqual(halves);
  });

  test.each([1, 2, 3, 4])("treats %d channels alike", (channels) => {
    const source = image(7, 5, channels);
    const size = { width: 4, height: 9 };
    const whole = resizePil(source, size);
    for (let channel = 0; channel < channels; channel++) {
      const of = (data: ByteImage["data"]): Uint8Array =>
        Uint8Array.from(data.filter((_, i) => i % channels === channel));
      const alone = resizePil({ ...source, data: of(source.data), channels: 1 }, size);
      expect(of(whole.data)).toEqual(alone.data);
    }
  });

  test("keeps white white, whatever the sizes", () => {
    for (const width of [1, 2, 3, 10, 97]) {
      const white = { data: new Uint8Array(31 * 17).fill(255), width: 31, height: 17, channels: 1 };
      expect(new Set(resizePil(white, { width, height: 2 * width }).data)).toEqual(new Set([255]));
    }
  });

  test("refuses sizes that do not fit", () => {
    const source = image(2, 2, 3);
    expect(() => resizePil(source, { width: 0, height: 2 })).toThrow("its new width is 0");
    expect(() => resizePil(source, { width: 1, height: 1.5 })).toThrow("its new height is 1.5");
    expect(() => resizePil({ ...source, width: -2 }, source)).toThrow("its width is -2");
    expect(() => resizePil({ ...source, channels: 5 }, source)).toThrow("12 bytes are not 2 x 2 pixels of 5 channels");
    expect(() => resizePil({ ...source, data: bytes(11) }, source)).toThrow("11 bytes are not 2 x 2 pixels");
  });
});

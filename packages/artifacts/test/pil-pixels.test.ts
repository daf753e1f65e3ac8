/** Small image files of many kinds, and the pixels that PIL gives them: test/pil-pixels.py made both. */
import { readFileSync } from "node:fs";
import { inflateSync } from "node:zlib";
import { readRgb } from "@madformer/artifacts";

interface Told {
  /** Deflated, base64. */
  readonly file: string;
  readonly width: number;
  /** (height, width, 3), base64. */
  readonly pixels: string;
}

const FILES = JSON.parse(readFileSync(new URL("pil-pixels.json", import.meta.url), "utf8")) as Record<string, Told>;

describe("readRgb()", () => {
  test.each(Object.entries(FILES))("gives PIL's pixels of a %s", async (name, told) => {
    const { cut: _, ...read } = await readRgb(inflateSync(Buffer.from(told.file, "base64")), name);
    const pixels = new Uint8Array(Buffer.from(told.pixels, "base64"));
    expect(read).toEqual({ width: told.width, height: pixels.length / 3 / told.width, pixels });
  });
});

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { RESIZES } from "./resizes.js";

// Made with clean-fid 0.1.35 (Pillow 13.0) and torch-fidelity 0.4.0 (PyTorch 1.13), in [0, 255], of the pixels below:
// make_resizer("PIL", False, "bicubic", (side, side)); interpolate_bilinear_2d_like_tensorflow1x(align_corners=False).
type Originals = Record<string, Record<"clean-fid" | "torch-fidelity", string>>;
const ORIGINALS = join(import.meta.dirname, "..", "resize", "originals.json");

const bytes = (size: number): Uint8Array => Uint8Array.from({ length: size }, (_, i) => (i * i * 7 + i * 13) % 256);

test.each(["clean-fid", "torch-fidelity"] as const)("the resize of %s makes its pixels", async (name) => {
  const all = JSON.parse(await readFile(ORIGINALS, "utf8")) as Originals;
  expect(Object.keys(all)).toHaveLength(4); // smaller, larger, smaller than wide and larger than high, as it is
  for (const [sizes, { [name]: text }] of Object.entries(all)) {
    const [width = 0, height = 0, side = 0] = sizes.match(/\d+/g)!.map(Number);
    const result = new Float32Array(side * side * 3);
    RESIZES[name].bytes(bytes(width * height * 3), { width, height }, side, result);
    const buffer = Buffer.from(text, "base64");
    expect(buffer.length).toBe(result.byteLength);
    // A few roundings to single precision of numbers up to 255; Pillow 13 goes first along the side that is less work.
    result.forEach((x, i) => expect(Math.abs(256 * x - buffer.readFloatLE(4 * i))).toBeLessThan(6e-5));
  }
});

test.each(["clean-fid", "torch-fidelity"] as const)(
  "the resize of %s gives the network 2x - 1 = (p - 128) / 128",
  (name) => {
    const [pixels, result] = [bytes(6 * 6 * 3), new Float32Array(6 * 6 * 3)];
    RESIZES[name].bytes(pixels, { width: 6, height: 6 }, 6, result);
    result.forEach((x, i) => expect(2 * x - 1).toBe((pixels[i]! - 128) / 128));
  },
);

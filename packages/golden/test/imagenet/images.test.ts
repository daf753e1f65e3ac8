import { resizePil } from "@madformer/artifacts";
import { floatsOfPixels } from "@madformer/model";
import { expectClose, type GoldenTensor } from "../golden.js";
import { META, tensorsOf } from "./set.js";

const images = tensorsOf("image.safetensors");
const imageOf = (name: string) => {
  const { shape, data } = images[name] as GoldenTensor;
  const [height = 0, width = 0, channels = 1] = shape;
  return { data: data as Uint8Array, height, width, channels };
};

/** The square at the top left. */
function cropped({ data, width, height, channels }: ReturnType<typeof imageOf>) {
  const side = Math.min(width, height);
  const square = new Uint8Array(side * side * channels);
  for (let y = 0; y < side; y++)
    square.set(data.subarray(y * width * channels, (y * width + side) * channels), y * side * channels);
  return { data: square, width: side, height: side, channels };
}

const cases = Object.keys(images).flatMap((name) => /^(lanczos\..*)\.in_uint8_hwc$/.exec(name)?.[1] ?? []);

test.each(cases)("resizePil() is PIL's Lanczos, byte for byte: %s", (name) => {
  const expected = imageOf(`${name}.out_uint8_hwc`);
  const { data } = resizePil(imageOf(`${name}.in_uint8_hwc`), expected, "lanczos");
  expect(data).toEqual(expected.data);
});

test("there are cases, and PIL's Lanczos of a square photograph is among them", () => {
  expect(cases.length).toBeGreaterThan(0);
  const square = resizePil(cropped(imageOf("photo_uint8_hwc")), { width: 256, height: 256 }, "lanczos");
  expect(square.data).toEqual(images["photo.lanczos256_uint8_hwc"]?.data);
});

test.each(["photo", "photo_gray"])("the branch's whole transform of %s", (name) => {
  const photo = imageOf("photo_uint8_hwc");
  // A gray image is its one channel three times.
  const gray = photo.data.map((_, i, all) => all[i - (i % 3)]!);
  const image = cropped(name === "photo" ? photo : { ...photo, data: gray });
  const { intermediate_size: between, image_size: side } = META.image;
  const first = resizePil(image, { width: between, height: between }, "lanczos");
  const { data } = resizePil(first, { width: side, height: side });
  const floats = floatsOfPixels(data); // (side, side, 3)
  const { data: expected } = images[`${name}.normalized_chw`] as GoldenTensor;
  const planes = expected.map((_, i) => floats[(i % (side * side)) * 3 + Math.floor(i / (side * side))]!);
  expectClose(planes, expected, 2e-7, name); // a division and a difference of float32
});

/** What the tests of codecs share: shards of small smooth images. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { ImageShardWriter, openFolder, type Artifact, type ShardImage } from "@madformer/artifacts";

/** A smooth picture that differs by `index`: stripes and a spot. */
export function picture(index: number, side: number): Uint8Array {
  const pixels = new Uint8Array(side * side * 3);
  const [angle, spot] = [index * 0.7, (index * 3) % side];
  for (let i = 0; i < pixels.length; i++) {
    const [y, x, c] = [Math.floor(i / 3 / side), Math.floor(i / 3) % side, i % 3];
    const wave = Math.sin((x * Math.cos(angle) + y * Math.sin(angle)) / 3 + c + index);
    const near = Math.hypot(x - spot, y - side / 2) < side / 5 ? 60 : 0;
    pixels[i] = Math.round(110 + 60 * wave + near + ((index * 17 + c * 29) % 25));
  }
  return pixels;
}

export function shardImage(index: number, side: number, change: Partial<ShardImage> = {}): ShardImage {
  return {
    key: `image-${index}`,
    label: index % 3 === 2 ? null : index % 3,
    width: side,
    height: side,
    format: "rgb8",
    image: picture(index, side),
    source: "0".repeat(64),
    json: null,
    ...change,
  };
}

/** An artifact of shards with the given images, and the facts that stage `shards` would give. */
export async function shardsOf(folder: string, shards: readonly (readonly ShardImage[])[]): Promise<Artifact> {
  await mkdir(folder, { recursive: true });
  for (const [i, images] of shards.entries()) {
    await using writer = await ImageShardWriter.create(join(folder, `images-${String(i).padStart(5, "0")}.arrow`));
    for (const image of images) await writer.add(image);
    await writer.finish();
  }
  return openFolder(folder);
}

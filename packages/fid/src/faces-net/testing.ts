import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ImageShardWriter, openFolder, sha256, type Artifact } from "@madformer/artifacts";
import { StageFiles, type StageContext } from "@madformer/stage";
import { normals } from "../linalg/testing.js";

// What tests of the stages share: pictures with attributes, folders, a context.

/** Attributes of a drawn square. */
export interface SquareAttributes {
  readonly color: "red" | "green" | "blue";
  readonly outlined: boolean;
  /** Of its left edge, pixels. */
  readonly left: number;
}

/** A square before a gray ground with some noise: what a small network learns within seconds. */
export function squarePixels(seed: number, side: number): { pixels: Uint8Array; attributes: SquareAttributes } {
  const draw = normals(seed);
  const at = (n: number): number => Math.floor(Math.abs(draw() * 1000)) % n;
  const attributes = { color: (["red", "green", "blue"] as const)[at(3)]!, outlined: at(2) === 1, left: at(side / 2) };
  const channel = ["red", "green", "blue"].indexOf(attributes.color);
  const [top, size] = [at(side / 2), side / 2];
  const pixels = Uint8Array.from({ length: side * side * 3 }, (_, i) => {
    const [x, y, c] = [Math.floor(i / 3) % side, Math.floor(i / 3 / side), i % 3];
    const [dx, dy] = [x - attributes.left, y - top];
    const inside = dx >= 0 && dx < size && dy >= 0 && dy < size;
    const border = inside && (dx < 2 || dy < 2 || dx >= size - 2 || dy >= size - 2);
    const value = border && attributes.outlined ? 255 : inside ? (c === channel ? 220 : 40) : 128;
    return Math.max(0, Math.min(255, value + 6 * draw()));
  });
  return { pixels, attributes };
}

/** Writes squares as shards, and opens them. */
export async function squareShards(folder: string, images: number, side = 32): Promise<Artifact> {
  await mkdir(folder, { recursive: true });
  const shards = Math.ceil(images / 100);
  for (let shard = 0; shard < shards; shard++) {
    const path = join(folder, `images-${String(shard).padStart(5, "0")}.arrow`);
    await using writer = await ImageShardWriter.create(path);
    for (let i = shard * 100; i < Math.min(images, (shard + 1) * 100); i++) {
      const { pixels, attributes } = squarePixels(i + 1, side);
      const json = JSON.stringify({ ...attributes, kind: "square", note: null });
      const image = { key: `square-${i}`, label: null, width: side, height: side, format: "rgb8" as const };
      await writer.add({ ...image, image: pixels, source: sha256(pixels), json });
    }
    await writer.finish();
  }
  return openFolder(folder);
}

/** An artifact of a folder with the facts that a stage would have given. */
export async function artifactOf(
  folder: string,
  stage: string,
  facts: Artifact["manifest"]["facts"],
): Promise<Artifact> {
  const artifact = await openFolder(folder);
  return { ...artifact, manifest: { ...artifact.manifest, stage, facts } };
}

/** A context that keeps what it is told. */
export async function contextIn(out: string, signal = new AbortController().signal) {
  await mkdir(join(out, "tmp"), { recursive: true });
  const lines: string[] = [];
  const context: StageContext = {
    out,
    files: await StageFiles.open(out),
    signal,
    log: { info: (line) => void lines.push(line), warn: (line) => void lines.push(line), progress: () => undefined },
  };
  return { ...context, lines };
}

/** Runs with a folder that is removed afterwards. */
export async function inFolder<T>(run: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), "fid-"));
  try {
    return await run(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

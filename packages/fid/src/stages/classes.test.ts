import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { encodePng, type Artifact } from "@madformer/artifacts";
import { artifactOf, contextIn, squarePixels, squareShards } from "../faces-net/testing.js";
import { stage as classes } from "./classes.js";
import { stage as facesNet } from "./faces-net.js";

const SIDE = 32;
const COLORS = ["red", "green", "blue"] as const;

let folder: string;
let net: Artifact;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "classes-"));
  const shards = await squareShards(join(folder, "shards"), 240, SIDE);
  const config = facesNet.config.parse({ steps: 120, dims: 64 });
  const facts = await facesNet.run(config, { shards }, await contextIn(join(folder, "net")));
  net = await artifactOf(join(folder, "net"), "faces-net", facts);
});
afterAll(() => rm(folder, { recursive: true }));

/** Squares, each asked to be of the colour that `asked` says. */
async function samplesIn(name: string, asked: (color: number) => number, labels: object = {}): Promise<Artifact> {
  const out = join(folder, name);
  await mkdir(join(out, "images"), { recursive: true });
  const of: Record<string, number> = {};
  for (let seed = 0; seed < 60; seed++) {
    const { pixels, attributes } = squarePixels(7000 + seed, SIDE);
    await writeFile(join(out, "images", `${String(seed).padStart(8, "0")}.png`), await encodePng(pixels, SIDE, SIDE));
    of[seed] = asked(COLORS.indexOf(attributes.color));
  }
  const listed = COLORS.map((color, label) => ({ label, name: `color=${color}`, images: 20 }));
  await writeFile(join(out, "labels.json"), JSON.stringify({ classes: listed, labels: of, ...labels }));
  return artifactOf(out, "sample", { groups: [{ name: "final", step: 1, folder: "images" }] });
}

let outs = 0;
const read = async (samples: Artifact) =>
  classes.run(classes.config.parse({}), { samples, net }, await contextIn(join(folder, `out-${++outs}`)));

describe("stage classes", () => {
  test("counts what was asked for and is there", async () => {
    const facts = await read(await samplesIn("right", (color) => color));
    expect(facts).toMatchObject({ images: 60, classes: 3 });
    expect(facts.accuracy).toBeGreaterThan(0.8);
    expect(facts.attributes).toEqual({ color: facts.accuracy });
    const written = JSON.parse(await readFile(join(folder, `out-${outs}`, "classes.json"), "utf8")) as {
      classes: { name: string; images: number }[];
    };
    expect(written.classes.map(({ name }) => name)).toEqual(["color=red", "color=green", "color=blue"]);
    expect(written.classes.reduce((sum, { images }) => sum + images, 0)).toBe(60);
  });

  test("counts nothing where another class is there", async () => {
    const { accuracy } = await read(await samplesIn("wrong", (color) => (color + 1) % 3));
    expect(accuracy).toBeLessThan(0.2);
  });

  test("refuses samples of no classes, and labels that do not say what an image is of", async () => {
    const plain = await samplesIn("plain", (color) => color);
    await rm(join(folder, "plain", "labels.json"));
    await expect(read({ ...plain, files: plain.files.filter((file) => file !== "labels.json") })).rejects.toThrow(
      "Cannot read classes: the samples have no labels.json, expected those of a model with classes",
    );
    await expect(read(await samplesIn("short", (color) => color, { labels: { 1: 0 } }))).rejects.toThrow(
      /^Cannot read classes: labels.json does not say which "images\/0+.png" is of$/,
    );
    await expect(read(await samplesIn("broken", (color) => color, { labels: 7 }))).rejects.toThrow(
      /^Cannot read labels.json of the samples: /,
    );
  });
});

import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DataError, FormatError, writeSafetensors } from "@madformer/artifacts";
import { FacesNetExtractor } from "./extractor.js";
import { digestOf, readFacesNet, sizeOf, writeFacesNet, type FacesNet } from "./file.js";
import { facesNetShapes } from "./network.js";
import { inFolder, squarePixels } from "./testing.js";
import { normals } from "../linalg/testing.js";

function drawnNet(seed = 1): FacesNet {
  const description: FacesNet["description"] = {
    format: 1,
    kind: "faces-net",
    sidePixels: 32,
    dims: 64,
    labels: [{ kind: "classes", name: "color", values: ["blue", "red"] }],
  };
  const draw = normals(seed);
  const weights = Object.entries(facesNetShapes(sizeOf(description))).map(([name, shape]) => {
    const size = shape.reduce((a, b) => a * b, 1);
    const reach = Math.sqrt((2 * shape.at(-1)!) / size);
    return [name, Float32Array.from({ length: size }, () => reach * draw())] as const;
  });
  return { description, weights: Object.fromEntries(weights) };
}

const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array): Buffer =>
  Buffer.from(buffer, byteOffset, byteLength);

const pathsIn = (folder: string) => ({
  description: join(folder, "net.json"),
  weights: join(folder, "net.safetensors"),
});

describe("readFacesNet()", () => {
  test("reads what writeFacesNet() wrote, and its digest follows everything that decides features", () =>
    inFolder(async (folder) => {
      const [net, paths] = [drawnNet(), pathsIn(folder)];
      await writeFacesNet(paths, net);
      const read = await readFacesNet(paths);
      expect(read.description).toEqual(net.description);
      expect(Object.keys(read.weights).sort()).toEqual(Object.keys(net.weights).sort());
      for (const [name, weight] of Object.entries(net.weights))
        expect(bytesOf(read.weights[name]!).equals(bytesOf(weight))).toBe(true);
      expect(digestOf(read)).toBe(digestOf(net));
      expect(digestOf(drawnNet(2))).not.toBe(digestOf(net));
      expect(digestOf({ ...net, description: { ...net.description, sidePixels: 48 } })).not.toBe(digestOf(net));
    }));

  test("refuses descriptions and weights that are not of one network", () =>
    inFolder(async (folder) => {
      const [net, paths] = [drawnNet(), pathsIn(folder)];
      await writeFacesNet(paths, net);
      const text = await readFile(paths.description, "utf8");
      const rejects = async (description: string, message: string): Promise<void> => {
        await writeFile(paths.description, description);
        await expect(readFacesNet(paths)).rejects.toThrow(DataError);
        await expect(readFacesNet(paths)).rejects.toThrow(message);
      };
      await rejects("{", "it is no JSON");
      await rejects(`${text}${" ".repeat(1 << 20)}`, "expected 1048576 at most");
      await rejects(text.replace('"sidePixels": 32', '"sidePixels": 1000000'), "does not describe a network");
      await rejects(text.replace('"dims": 64', '"dims": 128'), "has shape (");
      await rejects(text.replace('"format": 1', '"format": 1, "more": 2'), "does not describe a network");

      await writeFile(paths.description, text);
      const [name = ""] = Object.keys(net.weights);
      const bad = net.weights[name]!.map((x, i) => (i === 7 ? NaN : x));
      await writeFacesNet(paths, { ...net, weights: { ...net.weights, [name]: bad } });
      await expect(readFacesNet(paths)).rejects.toThrow(
        `Cannot read ${JSON.stringify(paths.weights)}: tensor "${name}" is not finite: 1 of ${bad.length} elements, the first is NaN at index 7`,
      );
      await writeSafetensors(paths.weights, { "stem.kernel": { shape: [1], data: new Float32Array(1) } });
      await expect(readFacesNet(paths)).rejects.toThrow(FormatError);
    }));
});

describe("FacesNetExtractor", () => {
  const net = drawnNet();
  const images = Uint8Array.from([1, 2, 3, 4, 5].flatMap((seed) => [...squarePixels(seed, 32).pixels]));

  test("makes the same features of an image in any batch, and on the plain engine", async () => {
    await using five = await FacesNetExtractor.create(net, { batchImages: 5 });
    await using two = await FacesNetExtractor.create(net, { batchImages: 2 });
    await using plain = await FacesNetExtractor.create(net, { batchImages: 1, engine: "cpu" });
    const { features, outputs } = await five.run(images);
    expect([features.length, outputs.length, five.dims]).toEqual([5 * 64, 5 * 2, 64]);
    // Seven layers of sums of up to a thousand terms, in other orders.
    for (const other of [await two.run(images), await plain.run(images.subarray(0, images.length / 5))]) {
      other.features.forEach((x, i) => expect(x).toBeCloseTo(features[i]!, 4));
      other.outputs.forEach((x, i) => expect(x).toBeCloseTo(outputs[i]!, 3));
    }
    expect(features.every((x) => x >= 0)).toBe(true);
    expect(new Set(features).size).toBeGreaterThan(200);
  });

  test("refuses parts of images", async () => {
    await using extractor = await FacesNetExtractor.create(net);
    await expect(extractor.features(images.subarray(1))).rejects.toThrow(
      "15359 bytes are no whole number of images of 3072",
    );
  });
});

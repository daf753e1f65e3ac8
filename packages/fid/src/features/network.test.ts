import { createServer } from "node:http";
import { copyFile, readdir, readFile } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { basename, join } from "node:path";
import { DataError, digestFile, torchTensor, writeSafetensors, writeTorch } from "@madformer/artifacts";
import { inFolder } from "../faces-net/testing.js";
import { drawnTensors } from "../inception/testing.js";
import type { GroupImage } from "../images/groups.js";
import { extractFeatures } from "./extract.js";
import { inceptionFiles, openInceptionNetwork, type FeatureNetwork, type InceptionLocation } from "./network.js";
import { PUBLISHED_INCEPTION } from "./network-names.js";

const withWeights = (run: (path: string, folder: string) => Promise<void>): Promise<void> =>
  inFolder(async (folder) => {
    const path = join(folder, "drawn.safetensors");
    await writeSafetensors(path, Object.fromEntries(drawnTensors(64)));
    await run(path, folder);
  });

const open = (folder: string, location: Partial<InceptionLocation>): Promise<FeatureNetwork> =>
  openInceptionNetwork({
    folder: join(folder, "tmp"),
    batchImages: 2,
    dims: 64,
    resize: "pytorch-fid",
    spatial: true,
    signal: new AbortController().signal,
    ...location,
  });

describe("openInceptionNetwork()", () => {
  test("without weights says which file it needs, where it is and what it hashes to", async () => {
    for (const weights of [undefined, ""]) {
      await expect(open("", { weights })).rejects.toThrow(DataError);
      await expect(open("", { weights })).rejects.toThrow(PUBLISHED_INCEPTION.url);
      await expect(open("", { weights })).rejects.toThrow(PUBLISHED_INCEPTION.sha256);
    }
    expect(basename(PUBLISHED_INCEPTION.url)).toBe(PUBLISHED_INCEPTION.file);
    expect(PUBLISHED_INCEPTION.file).toContain(`-${PUBLISHED_INCEPTION.sha256.slice(0, 8)}.pth`);
  });

  test("reads a file, by path or URL, and checks what it hashes to", () =>
    withWeights(async (path, folder) => {
      const { sha256, bytes } = await digestFile(path);
      const network = await open(folder, { weights: path, sha256: sha256.toUpperCase() });
      const { digest } = network;
      expect(network).toMatchObject({ name: "inception", isPublished: false, dims: 64 });
      expect(network.resize).toMatch(/^bilinear to 299 x 299/);

      await expect(open(folder, { weights: path, sha256: "0".repeat(64) })).rejects.toThrow(
        `their SHA-256 is ${sha256}, expected ${"0".repeat(64)} by sha256`,
      );
      const named = join(folder, `drawn-${sha256.slice(0, 8)}.safetensors`);
      const converted = join(folder, "drawn-01234567.safetensors"); // named after the file that it was made from
      for (const copy of [named, converted]) await copyFile(path, copy);
      for (const weights of [named, converted]) expect((await open(folder, { weights })).digest).toBe(digest);
      for (const misnamed of ["drawn-01234567.pth", "drawn-01234567.pt"]) {
        await copyFile(path, join(folder, misnamed));
        await expect(open(folder, { weights: join(folder, misnamed) })).rejects.toThrow(
          "expected 01234567... by its name",
        );
      }

      // What calls itself the published file is held to it, before it is read.
      const published = join(folder, PUBLISHED_INCEPTION.file);
      await copyFile(path, published);
      await expect(open(folder, { weights: published })).rejects.toThrow(`expected ${PUBLISHED_INCEPTION.sha256} by`);

      const file = await readFile(path);
      const server = createServer((_, response) => void response.end(file)).listen(0, "127.0.0.1");
      try {
        await new Promise((ready) => server.once("listening", ready));
        const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/somewhere/w.safetensors?version=1`;
        let fetched = 0;
        const location = { weights: url, sha256, progress: (done: number) => void (fetched = done) };
        expect((await open(folder, location)).digest).toBe(digest);
        expect(fetched).toBe(bytes);
        expect(await readdir(join(folder, "tmp"))).toEqual(["inception.safetensors"]);
        await expect(open(folder, { weights: url, sha256: "1".repeat(64) })).rejects.toThrow("1".repeat(64));
        const misnamed = url.replace("w.safetensors", "w-01234567.pth");
        await expect(open(folder, { weights: misnamed })).rejects.toThrow("expected 01234567... by its name");
      } finally {
        await new Promise((closed) => server.close(closed));
      }
    }));

  test("knows equal weights by their values, not by the file that holds them", () =>
    withWeights(async (path, folder) => {
      const [torch, reordered, others] = ["drawn.pt", "reordered.safetensors", "others.safetensors"].map((name) =>
        join(folder, name),
      );
      const tensors = [...drawnTensors(64)];
      await writeTorch(torch!, new Map(tensors.map(([name, tensor]) => [name, torchTensor(tensor)])));
      const extra = { "fc.bias": { shape: [1], data: Float32Array.of(1) } };
      await writeSafetensors(reordered!, { ...extra, ...Object.fromEntries(tensors.toReversed()) });
      const [[name, first]] = tensors as [(typeof tensors)[0]];
      const changed = { shape: first.shape, data: first.data.map((x, i) => (i === 7 ? x + 1e-3 : x)) };
      await writeSafetensors(others!, { ...Object.fromEntries(tensors), [name]: changed });
      const digestOf = async (weights: string): Promise<string> => (await open(folder, { weights })).digest;
      const digest = await digestOf(path);
      expect(await digestOf(torch!)).toBe(digest);
      expect(await digestOf(reordered!)).toBe(digest);
      expect(await digestOf(others!)).not.toBe(digest);
    }));

  test("makes features of images of the sizes that it is opened for", () =>
    withWeights(async (path, folder) => {
      const network = await open(folder, { weights: path });
      await using extractor = await network.open({ width: 20, height: 10 });
      const { features, spatial } = await extractor.run(Uint8Array.from({ length: 3 * 600 }, (_, i) => (i * i) % 251));
      expect(features.length).toBe(3 * 64);
      expect(features.every(Number.isFinite)).toBe(true);
      expect([spatial, network.spatialDims, network.classifier]).toEqual([undefined, undefined, undefined]);
    }));
});

test("openInceptionNetwork() gives an image the same features beside images of other sizes", () =>
  withWeights(async (path, folder) => {
    const network = await open(folder, { weights: path });
    const image = (i: number, [width, height]: readonly [number, number]): GroupImage => ({
      name: `${i}`,
      width,
      height,
      pixels: Uint8Array.from({ length: width * height * 3 }, (_, at) => ((at * at) >> i) % 251),
    });
    const featuresOf = async (...images: readonly GroupImage[]): Promise<Float32Array[]> => {
      const group = {
        name: "some",
        images: async function* () {
          yield* images;
        },
      };
      const rows = [];
      const options = { batchImages: 2, limit: 0, signal: new AbortController().signal };
      for await (const { features } of extractFeatures(network, group, options))
        for (let at = 0; at < features.length; at += 64) rows.push(features.slice(at, at + 64));
      return rows;
    };
    const images = [image(1, [20, 10]), image(2, [20, 10]), image(3, [20, 10]), image(4, [9, 31]), image(5, [20, 10])];
    const mixed = await featuresOf(...images);
    const alone: Float32Array[] = [];
    for (const one of images) alone.push(...(await featuresOf(one)));
    expect(mixed).toHaveLength(5);
    mixed.forEach((row, i) => row.forEach((x, at) => expect(Math.abs(x - alone[i]![at]!)).toBeLessThan(1e-4)));
  }));

test("inceptionFiles() names the file of weights that is on this machine", () => {
  const here = [{ path: "/weights/w.pth", by: "content" }];
  expect(inceptionFiles("/weights/w.pth")).toEqual(here);
  expect(inceptionFiles("file:///weights/w.pth")).toEqual(here);
  for (const elsewhere of ["https://example.org/w.pth", "file://elsewhere/w.pth", "", undefined])
    expect(inceptionFiles(elsewhere)).toEqual([]);
});

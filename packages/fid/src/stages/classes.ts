import { readFile } from "node:fs/promises";
import { DataError, notFinite, reasonOf, type Artifact } from "@madformer/artifacts";
import { computing } from "@madformer/engine";
import { defineStage } from "@madformer/stage";
import { z } from "zod";
import { FacesNetExtractor } from "../faces-net/extractor.js";
import { readFacesNet } from "../faces-net/file.js";
import { totalOutputs } from "../faces-net/labels.js";
import { ClassReader, SampleLabels } from "../faces-net/read-classes.js";
import { imageGroups } from "../images/groups.js";

/** How images are read. */
export const ClassesConfig = z
  .strictObject({
    batchImages: z
      .int()
      .positive()
      .max(4096)
      .default(50)
      .describe("Images that go through the network together: speed and memory alone"),
  })
  .readonly();
export type ClassesConfig = z.infer<typeof ClassesConfig>;

/**
 * Stage `classes`: samples of classes in, how often a network reads the class that was asked for out.
 *
 * Reads samples (images of the last checkpoint, labels.json); net.json, net.safetensors Writes <out>/classes.json:
 *         images and those that were read, of each class and of each attribute
 *
 * A class is read where every attribute in its name has its likeliest value.
 *
 * @throws {DataError} If the samples are of no classes, the network does not know what these are called, or images are
 *   of another size than it sees.
 */
export const stage = defineStage({
  name: "classes",
  summary: "Count how often a network reads the class that samples were asked for",
  config: ClassesConfig,
  computing,
  inputs: {
    samples: { summary: "samples of a model with classes", stages: ["sample"] },
    net: { summary: "the network that reads them", stages: ["faces-net"] },
  },
  free: ["batchImages"],
  async run({ batchImages }, { samples, net }, { files, signal, log }) {
    const labels = await labelsOf(samples);
    const opened = await readFacesNet({
      description: await net.path("net.json"),
      weights: await net.path("net.safetensors"),
    });
    const { sidePixels: side, labels: known } = opened.description;
    const reader = new ClassReader(known, labels);
    const group = imageGroups(samples).at(-1)!;
    await using extractor = await FacesNetExtractor.create(opened, { batchImages });
    const outputs = totalOutputs(known);
    const total = group.count ?? 0;
    let batch: { readonly name: string; readonly label: number; readonly pixels: Uint8Array }[] = [];
    let done = 0;
    const flush = async (): Promise<void> => {
      if (batch.length === 0) return;
      const pixels = new Uint8Array(batch.length * side ** 2 * 3);
      batch.forEach((image, i) => pixels.set(image.pixels, i * side ** 2 * 3));
      const { outputs: said } = await extractor.run(pixels);
      for (const [i, { name, label }] of batch.entries()) {
        const row = said.subarray(i * outputs, (i + 1) * outputs);
        const bad = notFinite(row);
        if (bad) throw new DataError(`Cannot read classes: what the network says of ${name} is not finite: ${bad}`);
        reader.add(label, row);
      }
      log.progress("images", (done += batch.length), total);
      batch = [];
    };
    for await (const { name, width, height, pixels } of group.images(signal)) {
      signal.throwIfAborted();
      if (width !== side || height !== side)
        throw new DataError(
          `Cannot read classes: ${name} is ${width} x ${height} pixels, expected ${side} x ${side} as the network was trained on`,
        );
      const seed = /(\d+)\.png"?$/.exec(name)?.[1]?.replace(/^0+(?=\d)/, "") ?? "";
      const label = Object.hasOwn(labels.labels, seed) ? labels.labels[seed] : undefined;
      if (label === undefined) throw new DataError(`Cannot read classes: labels.json does not say which ${name} is of`);
      batch.push({ name, label, pixels });
      if (batch.length === batchImages) await flush();
    }
    await flush();

    const sum = (of: "images" | "read"): number => reader.tallies.reduce((total, tally) => total + tally[of], 0);
    const attributes = [...reader.attributes].map(([name, tally]) => ({ name, ...tally }));
    const result = { images: sum("images"), read: sum("read"), attributes, classes: reader.tallies };
    await files.write("classes.json", `${JSON.stringify(result, null, 2)}\n`);
    return {
      images: result.images,
      classes: result.classes.length,
      accuracy: result.read / result.images,
      attributes: Object.fromEntries(attributes.map(({ name, images, read }) => [name, read / images])),
    };
  },
});

async function labelsOf(samples: Artifact): Promise<SampleLabels> {
  if (!samples.files.includes("labels.json"))
    throw new DataError("Cannot read classes: the samples have no labels.json, expected those of a model with classes");
  try {
    return SampleLabels.parse(JSON.parse(await readFile(await samples.path("labels.json"), "utf8")));
  } catch (cause) {
    throw new DataError(`Cannot read labels.json of the samples: ${reasonOf(cause)}`, { cause });
  }
}

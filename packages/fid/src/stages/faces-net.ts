import { join } from "node:path";
import { computing } from "@madformer/engine";
import { defineStage, dropProgress, type StageContext } from "@madformer/stage";
import { accuracyOf } from "../faces-net/accuracy.js";
import { FacesNetConfig, rateShare } from "../faces-net/config.js";
import { loadFaces, splitOf, type FacesData, type Split } from "../faces-net/data.js";
import { FacesNetExtractor } from "../faces-net/extractor.js";
import { readFacesNet, writeFacesNet, type FacesNet } from "../faces-net/file.js";
import { trainFacesNet } from "../faces-net/train.js";

/** Decimals of a logged loss: what one image more or less in a batch would change. */
const LOSS_DIGITS = 6;

/**
 * Stage `faces-net`: images with attributes in, a small network that knows them out.
 *
 * Reads images-*.arrow, whose `json` is an object of attributes Writes net.json (what the network is, and what its head
 * says), net.safetensors, losses.jsonl (step, loss, learningRate);
 *         while it runs tmp/checkpoint.safetensors
 *
 * What there is to learn is found in the attributes themselves (see `LabelCollector`). A run that was killed goes on
 * from its last kept state, if that is whole, to the same weights, bit for bit.
 *
 * @throws {DataError} If the images have no attributes, or are not square and of one size from 32 to 128 pixels.
 */
export const stage = defineStage({
  name: "faces-net",
  summary: "Train a small network on the attributes of drawn faces, whose features score samples of them",
  config: FacesNetConfig,
  computing,
  inputs: { shards: { summary: "image shards with attributes", stages: ["shards"] } },
  free: ["checkpointSteps"],
  async run(config, { shards }, context) {
    const { signal, log } = context;
    const files = shards.files.filter((file) => /^images-\d+\.arrow$/.test(file));
    const paths = await Promise.all(files.map((file) => shards.path(file)));
    const data = await loadFaces(paths, config.limitImages, signal);
    for (const [name, reason] of Object.entries(data.leftOut)) log.info(`left out: "${name}", because ${reason}`);
    const split = splitOf(data.images, config.heldOut, config.seed);
    const net = (await finishedNet(context)) ?? (await makeNet(config, data, split, context));
    await using extractor = await FacesNetExtractor.create(net);
    const known = await accuracyOf(extractor, data, split.heldOut);
    return {
      dims: config.dims,
      side: data.sidePixels,
      steps: config.steps,
      trainImages: split.train.length,
      heldOutImages: split.heldOut.length,
      ...known,
      leftOut: data.leftOut,
    };
  },
});

const [DESCRIPTION, WEIGHTS, LOSSES] = ["net.json", "net.safetensors", "losses.jsonl"] as const;

/** The network that an earlier attempt finished. */
async function finishedNet({ files }: StageContext): Promise<FacesNet | undefined> {
  if (![DESCRIPTION, WEIGHTS, LOSSES].every((file) => files.has(file))) return undefined;
  return readFacesNet({ description: await files.path(DESCRIPTION), weights: await files.path(WEIGHTS) });
}

async function makeNet(
  config: FacesNetConfig,
  data: FacesData,
  split: Split,
  { out, files, signal, log }: StageContext,
): Promise<FacesNet> {
  const { net, losses } = await trainFacesNet(config, data, split, {
    place: { out, files },
    signal,
    progress: (step, loss) => log.progress("steps", step, config.steps, { loss: loss.toFixed(4) }),
    resumed: (step) => log.info(`going on from step ${step} of ${config.steps}`),
  });
  const lines = [...losses].map((loss, i) => {
    const learningRate = config.learningRate * rateShare(i, config.steps);
    return `${JSON.stringify({ step: i + 1, loss: Number(loss.toFixed(LOSS_DIGITS)), learningRate })}\n`;
  });
  await files.write(LOSSES, lines.join(""));
  await writeFacesNet({ description: join(out, DESCRIPTION), weights: join(out, WEIGHTS) }, net);
  for (const file of [WEIGHTS, DESCRIPTION]) await files.keep(file);
  await dropProgress({ out, files });
  return net;
}

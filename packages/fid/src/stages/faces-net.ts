import { join } from "node:path";
import { writeText } from "@madformer/artifacts";
import { defineStage } from "@madformer/stage";
import { accuracyOf } from "../faces-net/accuracy.js";
import { FacesNetConfig, rateShare } from "../faces-net/config.js";
import { loadFaces, splitOf } from "../faces-net/data.js";
import { FacesNetExtractor } from "../faces-net/extractor.js";
import { writeFacesNet } from "../faces-net/file.js";
import { trainFacesNet } from "../faces-net/train.js";

/** Decimals of a logged loss: what one image more or less in a batch would change. */
const LOSS_DIGITS = 6;

/**
 * Stage `faces-net`: images with attributes in, a small network that knows them out.
 *
 * Reads   images-*.arrow, whose `json` is an object of attributes
 * Writes  net.json (what the network is, and what its head says), net.safetensors, losses.jsonl (step, loss, learningRate);
 *         while it runs tmp/state.safetensors
 *
 * What there is to learn is found in the attributes themselves (see `LabelCollector`). A run that was killed goes on from
 * its last kept state to the same weights, bit for bit.
 *
 * @throws {DataError} If the images have no attributes, or are not square and of one size from 32 to 128 pixels.
 */
export const stage = defineStage({
  name: "faces-net",
  summary: "Train a small network on the attributes of drawn faces, whose features score samples of them",
  config: FacesNetConfig,
  inputs: { shards: { summary: "image shards with attributes" } },
  async run(config, { shards }, { out, signal, log }) {
    const files = shards.files.filter((file) => /^images-\d+\.arrow$/.test(file));
    const paths = await Promise.all(files.map((file) => shards.path(file)));
    const data = await loadFaces(paths, config.limitImages, signal);
    for (const [name, reason] of Object.entries(data.leftOut)) log.info(`left out: "${name}", because ${reason}`);
    const split = splitOf(data.images, config.heldOut, config.seed);

    const { net, losses } = await trainFacesNet(config, data, split, {
      checkpoint: join(out, "tmp", "state.safetensors"),
      signal,
      progress: (step, loss) => log.progress("steps", step, config.steps, { loss: loss.toFixed(4) }),
      resumed: (step) => log.info(`going on from step ${step} of ${config.steps}`),
    });
    await using extractor = await FacesNetExtractor.create(net);
    const known = await accuracyOf(extractor, data, split.heldOut);

    const lines = [...losses].map((loss, i) => {
      const learningRate = config.learningRate * rateShare(i, config.steps);
      return `${JSON.stringify({ step: i + 1, loss: Number(loss.toFixed(LOSS_DIGITS)), learningRate })}\n`;
    });
    await writeText(join(out, "losses.jsonl"), lines.join(""));
    await writeFacesNet({ description: join(out, "net.json"), weights: join(out, "net.safetensors") }, net);
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

import { spec, type TensorSpec, type Tensors } from "@madformer/engine";
import type * as tf from "@tensorflow/tfjs-core";
import { geometryOf } from "../config.js";
import { attend } from "../nn/attend.js";
import { Scope, type Parameters } from "../parameters.js";
import { causalMask } from "../text/causal-mask.js";
import { embedText, type WithText } from "../text/embedding.js";
import { textRope } from "../text/text-rope.js";
import { completeLayer, projectHeads } from "../transformer/layer.js";
import { textSeesNoise } from "../transformer/visibility.js";

/** What a text leaves for the images that it is of: by layer (H, tokens, D) each. */
export type TextOutputs = {
  readonly keys: Record<string, tf.Tensor3D>;
  readonly values: Record<string, tf.Tensor3D>;
  /** (1, tokens, C): its tokens as they leave the autoregressive layers, where they go on with a block's. */
  readonly words?: tf.Tensor3D;
};

/**
 * Program `text`: the tokens of one text -> its keys and values in all layers. A text sees no image, so this is the
 * same for all images of a class; of the last layer nothing else is computed, and no logits.
 *
 * Source: spec sections 29 and 32.
 */
export function textProgram(config: WithText) {
  const { layers } = geometryOf(config);
  const inputs: { readonly tokens: TensorSpec<readonly [number, number]> } = {
    tokens: spec([1, config.text.tokens] as const, "int32"),
  };
  const run = (p: Parameters, { tokens }: Tensors<typeof inputs>): TextOutputs => {
    const root = new Scope(p);
    const rope = textRope(config);
    const mask = causalMask(config.text.tokens);
    const [keys, values]: [TextOutputs["keys"], TextOutputs["values"]] = [{}, {}];
    let x = embedText(root, config, tokens); // (1, tokens, C)
    for (let layer = 0; layer < layers; layer++) {
      if (textSeesNoise(config, layer)) return { keys, values, words: x };
      const scope = root.in(`blocks.${layer}`);
      const goesOn = layer < layers - 1;
      const { q, k, v } = projectHeads(scope, config, "text", x, rope, goesOn); // (H, tokens, D) each
      [keys[layer], values[layer]] = [k, v];
      if (q) x = completeLayer(scope, config, "text", x, attend(q, k, v, mask)).y;
    }
    return { keys, values };
  };
  return { inputs, run };
}

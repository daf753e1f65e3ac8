import { geometryOf, type MadformerConfig } from "../config.js";
import type { FileTensor } from "../parameters.js";
import { hasText } from "./embedding.js";
import { textFrequencies } from "./text-rope.js";

/**
 * What a state dict of the released code holds besides parameters: the frequencies of the text's rotary embedding, once
 * of the model and once of each layer, which share them. They follow from the config; whoever reads may ignore them,
 * its own loader (`strict=True`) wants them.
 *
 * Source: spec section 19.
 */
export function isBuffer(config: MadformerConfig, key: string): boolean {
  return hasText(config) && /^(blocks\.\d+\.self_attn\.)?text_rope\.inv_freq$/.test(key);
}

/**
 * A state dict with its buffers, in the order of the released code: behind the U-Net, and behind each layer's output
 * projection.
 *
 * @param tensors By key, parameters in their order.
 * @param make A tensor out of the frequencies.
 */
export function withBuffers<T>(
  config: MadformerConfig,
  tensors: ReadonlyMap<string, T>,
  make: (frequencies: FileTensor) => T,
): Map<string, T> {
  if (!hasText(config)) return new Map(tensors);
  const data = textFrequencies(config.text.ropeTheta, geometryOf(config).D);
  const frequencies = make({ shape: [data.length], data });
  const entries = [...tensors];
  const behind = (key: string, next: string | undefined): string | undefined => {
    if (next === "embed_tokens.weight") return "text_rope.inv_freq";
    const [, attention] = /^(blocks\.\d+\.self_attn\.)proj_list\./.exec(key) ?? [];
    return attention && !next?.startsWith(`${attention}proj_list.`) ? `${attention}text_rope.inv_freq` : undefined;
  };
  return new Map(
    entries.flatMap(([key, tensor], i) => {
      const buffer = behind(key, entries[i + 1]?.[0]);
      return buffer === undefined ? [[key, tensor] as const] : [[key, tensor] as const, [buffer, frequencies] as const];
    }),
  );
}

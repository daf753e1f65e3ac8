import { openWeights } from "@madformer/artifacts";
import type { InceptionDims } from "./units.js";
import { readInceptionWeights, type InceptionWeights, type TensorSource } from "./weights.js";

/**
 * Reads the network's weights from a file: `.safetensors`, or a state dict that PyTorch saved (`.pth`, `.pt`, `.bin`).
 * Its content says which of them it is, not its name.
 *
 * @param dims Only what these features need is read. Default: all.
 * @throws {RangeError} If a tensor is missing or has another shape.
 * @throws {FormatError} If the file is none of these or damaged, or a weight is not finite.
 *
 * @example
 * const weights = await openInceptionWeights("pt_inception.safetensors");
 */
export async function openInceptionWeights(path: string, dims: InceptionDims = 2048): Promise<InceptionWeights> {
  await using file = await openWeights(path);
  const names = new Set(file.names);
  return await reading(path, dims, {
    has: (name) => names.has(name),
    read: async (name) => ({ shape: file.tensor(name).shape, data: await file.readWeights(name) }),
  });
}

/** Reads weights; what is wrong with them is said with the file's name. */
async function reading(path: string, dims: InceptionDims, source: TensorSource): Promise<InceptionWeights> {
  try {
    return await readInceptionWeights(source, dims);
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw new RangeError(`"${path}": ${cause.message}`, { cause });
  }
}

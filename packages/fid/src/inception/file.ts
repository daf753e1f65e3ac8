import { extname } from "node:path";
import { openSafetensors, openTorch } from "@madformer/artifacts";
import type { InceptionDims } from "./units.js";
import { readInceptionWeights, type InceptionWeights, type TensorSource } from "./weights.js";

/**
 * Reads the network's weights from a file: `.safetensors`, or a state dict that PyTorch saved (`.pth`, `.pt`, `.bin`).
 *
 * @param dims Only what these features need is read. Default: all.
 * @throws {RangeError} If the file's name ends otherwise, a tensor is missing or has another shape.
 * @throws {FormatError} If the file is damaged.
 *
 * @example
 * const weights = await openInceptionWeights("pt_inception.safetensors");
 */
export async function openInceptionWeights(path: string, dims: InceptionDims = 2048): Promise<InceptionWeights> {
  switch (extname(path)) {
    case ".safetensors": {
      await using file = await openSafetensors(path);
      return await reading(path, dims, {
        has: (name) => file.has(name),
        read: async (name) => ({ shape: file.tensor(name).shape, data: await file.readFloat32(name) }),
      });
    }
    case ".pth":
    case ".pt":
    case ".bin": {
      await using file = await openTorch(path);
      const tensors = file.tensors();
      return await reading(path, dims, {
        has: (name) => tensors.has(name),
        read: async (name) => {
          const tensor = tensors.get(name)!;
          return { shape: tensor.shape, data: await tensor.readFloat32() };
        },
      });
    }
    default:
      throw new RangeError(
        `Cannot read Inception weights from "${path}": its name ends in "${extname(path)}", expected .safetensors, .pth, .pt or .bin`,
      );
  }
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

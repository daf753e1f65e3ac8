import { openDataFile } from "./open.js";
import type { FormatError } from "./format-error.js";
import { quote } from "./format-error.js";
import { notFinite } from "./tensor/finite.js";
import { isDType, type StoredDType } from "./tensor/dtype.js";
import type { TorchTensor } from "./torch/tensor.js";

/** An open file of named weights, whatever its format is. */
export interface WeightsFile extends AsyncDisposable {
  /** In the file's order. */
  readonly names: readonly string[];
  /**
   * What a tensor is, without reading it.
   *
   * @throws {FormatError} If the file has no such tensor.
   */
  tensor(name: string): { readonly dtype: StoredDType; readonly shape: readonly number[] };
  /**
   * Reads a tensor as float32. Each call reads it again; the array is yours.
   *
   * @throws {FormatError} If an element is NaN or infinite, or the tensor is of a type that is not read here.
   */
  readWeights(name: string): Promise<Float32Array>;
  /** The error to throw about this file. */
  error(problem: string): FormatError;
}

/**
 * Opens a file of weights by its content: `.safetensors`, or a state dict that `torch.save` wrote (`.bin`, `.pt`,
 * `.pth`), also one under the key `state_dict`.
 *
 * @returns Yours to close.
 * @throws {FormatError} If it is none of these, or damaged.
 */
export async function openWeights(path: string): Promise<WeightsFile> {
  const { kind, file } = await openDataFile(path);
  if (kind === "safetensors") return file;
  try {
    if (kind !== "torch")
      throw file.error(`it is numpy's, expected weights: .safetensors, or PyTorch's .bin, .pt or .pth`);
    const tensors = file.get("state_dict") instanceof Map ? file.tensors("state_dict") : file.tensors();
    return ofTorch(tensors, file);
  } catch (error) {
    await file.close();
    throw error;
  }
}

/**
 * Reads all weights of a file, as `openWeights` opens it.
 *
 * @returns In the file's order; the arrays are yours.
 * @throws {FormatError} If it is no such file or damaged, or a weight is not finite.
 */
export async function readAllWeights(
  path: string,
): Promise<Record<string, { readonly shape: readonly number[]; readonly data: Float32Array }>> {
  await using file = await openWeights(path);
  const entries = [];
  for (const name of file.names)
    entries.push([name, { shape: file.tensor(name).shape, data: await file.readWeights(name) }] as const);
  return Object.fromEntries(entries);
}

/**
 * A state dict of an open PyTorch file as a file of weights.
 *
 * @param file Owned from now on: closed with the weights.
 */
function ofTorch(
  tensors: ReadonlyMap<string, TorchTensor>,
  file: AsyncDisposable & { error(problem: string): FormatError },
): WeightsFile {
  const find = (name: string): TorchTensor => {
    const tensor = tensors.get(name);
    if (tensor === undefined) throw file.error(`it has no tensor ${quote(name)}`);
    return tensor;
  };
  return {
    names: [...tensors.keys()],
    tensor: (name) => find(name),
    async readWeights(name) {
      const tensor = find(name);
      if (!isDType(tensor.dtype))
        throw file.error(`tensor ${quote(name)} is of ${tensor.dtype}, which is not read here`);
      const weights = await tensor.readFloat32();
      const problem = notFinite(weights);
      if (problem !== undefined) throw file.error(`tensor ${quote(name)} is not finite: ${problem}`);
      return weights;
    },
    error: (problem) => file.error(problem),
    [Symbol.asyncDispose]: () => file[Symbol.asyncDispose](),
  };
}

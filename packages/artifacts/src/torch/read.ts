import { ByteSource } from "../file/byte-source.js";
import { quote, type FormatError } from "../format-error.js";
import { checkTree } from "../pickle/check-tree.js";
import { readTorchArchive } from "./archive.js";
import { readLegacyTorch, tarProblem, torchStart } from "./legacy.js";
import { TorchTensor } from "./tensor.js";
import type { Namespace, TorchValue } from "./value.js";

/**
 * Opens a file that `torch.save` wrote: `.pt`, `.pth`, `.bin`, in the format of PyTorch 1.6 or in the one before it.
 * What it holds is there at once; tensors are read when they are asked for.
 *
 * Nothing in the file is run. Its pickle may call the few functions that state dicts, optimizers and arguments are made
 * of (`torch/globals.ts`), which are ours; any other is an error that names it.
 *
 * @returns Yours to close: `await using file = await openTorch(path)`. Tensors can be read until then.
 * @throws {FormatError} If it is damaged, a tar archive, or uses anything that is not allowed.
 *
 * @example
 * await using file = await openTorch("0010000.pt");
 * for (const [name, tensor] of file.tensors("ema")) console.log(name, tensor.shape);
 */
export async function openTorch(path: string): Promise<TorchFile> {
  const source = await ByteSource.open(path);
  try {
    return await TorchFile.from(source);
  } catch (error) {
    await source.close();
    throw error;
  }
}

/** An open PyTorch file. */
export class TorchFile implements AsyncDisposable {
  private constructor(
    private readonly source: ByteSource,
    /** What was saved. It holds itself nowhere and is nested at most 500 deep, so it can be walked as a tree. */
    readonly value: TorchValue,
  ) {}

  /** @param source Owned from now on: closed with the file. */
  static async from(source: ByteSource): Promise<TorchFile> {
    const start = await torchStart(source);
    if (start?.kind === "tar") throw source.error(tarProblem(source.path));
    if (start?.kind === "pickle") throw source.error("it is a pickle, but does not begin with PyTorch's magic number");
    const value = await (start ? readLegacyTorch(source, start.bytes) : readTorchArchive(source));
    checkTree(value, fieldsOf, (problem) => source.error(problem));
    return new TorchFile(source, value as TorchValue);
  }

  /**
   * An entry of the dict that was saved, or of one in it: `get("opt", "state", 0)`.
   *
   * @returns undefined if there is none.
   */
  get(...keys: readonly (string | number)[]): TorchValue | undefined {
    let value: TorchValue | undefined = this.value;
    for (const key of keys) {
      if (value instanceof Map) value = (value as ReadonlyMap<unknown, TorchValue>).get(key);
      else if (isNamespace(value)) value = value.fields[key];
      else if (Array.isArray(value)) value = (value as TorchValue[])[key as number];
      else return undefined;
    }
    return value;
  }

  /**
   * The tensors of a state dict, in its order.
   *
   * @param keys Where it is, as in `get`; nothing if it is all that was saved.
   * @throws {FormatError} If there is something else.
   */
  tensors(...keys: readonly (string | number)[]): ReadonlyMap<string, TorchTensor> {
    const dict = this.get(...keys);
    const where = keys.length ? keys.map((key) => `[${JSON.stringify(key)}]`).join("") : "the file";
    if (!(dict instanceof Map)) throw this.source.error(`${where} is no dict of tensors`);
    for (const [name, tensor] of dict as Map<unknown, unknown>)
      if (typeof name !== "string" || !(tensor instanceof TorchTensor))
        throw this.source.error(`${where} is no dict of tensors: ${quote(String(name))} is none`);
    return dict as ReadonlyMap<string, TorchTensor>;
  }

  /** The error to throw about this file. */
  error(problem: string): FormatError {
    return this.source.error(problem);
  }

  async close(): Promise<void> {
    await this.source.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

export function isNamespace(value: unknown): value is Namespace<TorchValue> {
  return (value as Namespace | null | undefined)?.kind === "namespace";
}

function fieldsOf(value: object): Iterable<unknown> {
  return isNamespace(value) ? Object.values(value.fields) : [];
}

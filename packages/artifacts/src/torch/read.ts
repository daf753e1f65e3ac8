import { ByteSource } from "../file/byte-source.js";
import { quote, type FormatError } from "../format-error.js";
import { checkTree } from "../pickle/check-tree.js";
import { readTorchArchive } from "./archive.js";
import { TorchTensor } from "./tensor.js";
import type { Namespace, TorchValue } from "./value.js";

/** How a file from before PyTorch 1.6 begins: a pickle of its magic number, or a tar archive. */
const LEGACY = Buffer.from("80028a0a6cfc9c46f9206aa850192e", "hex");

/**
 * Opens a file that `torch.save` wrote: `.pt`, `.pth`, `.bin`, of PyTorch 1.6 or newer. What it holds is there at once;
 * tensors are read when they are asked for.
 *
 * Nothing in the file is run. Its pickle may call the few functions that state dicts, optimizers and arguments are made
 * of (`torch/globals.ts`), which are ours; any other is an error that names it.
 *
 * @returns Yours to close: `await using file = await openTorch(path)`. Tensors can be read until then.
 * @throws {FormatError} If it is damaged, too old, or uses anything that is not allowed.
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
    await refuseLegacy(source);
    const value = await readTorchArchive(source);
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

/** Whether it is a file of PyTorch before 1.6. */
export async function isLegacyTorch(source: ByteSource): Promise<boolean> {
  const start = await source.read(0, Math.min(source.size, LEGACY.length));
  const tar = source.size > 262 ? Buffer.from(await source.read(257, 5)).toString("latin1") : "";
  return LEGACY.equals(start) || tar === "ustar";
}

async function refuseLegacy(source: ByteSource): Promise<void> {
  if (!(await isLegacyTorch(source))) return;
  const [from, to] = [source.path, `${source.path}.new`].map((path) => JSON.stringify(path));
  throw source.error(
    `it has the format of PyTorch before 1.6; convert it in Python with torch.save(torch.load(${from}), ${to})`,
  );
}

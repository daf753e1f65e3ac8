import { writeAtomically } from "../file/atomic-file.js";
import { PickleGlobal } from "../pickle/global.js";
import { OrderedDict } from "../pickle/ordered-dict.js";
import { PersistentId, PickleCall, PickleWriter, type PyFloat } from "../pickle/write.js";
import { dtypeBytes, isDType, type DType } from "../tensor/dtype.js";
import { bytesOfInput, checkInput, type TensorInput } from "../tensor/input.js";
import { rowMajorStrides } from "../tensor/strided.js";
import { ZipWriter } from "../zip/write.js";
import { STORAGE_DTYPES } from "./globals.js";
import { TorchStorage } from "./storage.js";
import { TorchTensor } from "./tensor.js";
import type { Complex, Foreign, Namespace, TorchDevice, TorchDType, TorchLayout } from "./value.js";

/** A tensor to write. Two with the same array, or the same function, share their memory when they are loaded. */
export interface TorchTensorInput extends TensorInput {
  readonly kind: "tensor";
  readonly requiresGrad?: boolean;
  /** Written as a `torch.nn.Parameter`. */
  readonly isParameter?: boolean;
}

/**
 * What `writeTorch` takes: what `openTorch` gives, tensors of arrays or functions, plain objects for dicts with string
 * keys, and `pyFloat` for floats that are whole. An object whose field `kind` is one of those in this table is no dict;
 * a Map always is.
 */
export type TorchInput =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | readonly TorchInput[]
  | ReadonlyMap<TorchInput, TorchInput>
  | ReadonlySet<TorchInput>
  | TorchTensor
  | TorchStorage
  | TorchTensorInput
  | Namespace<TorchInput>
  | TorchDevice
  | TorchDType
  | TorchLayout
  | Complex
  | Foreign
  | PickleGlobal
  | PyFloat
  | { readonly [key: string]: TorchInput };

export interface WriteTorchOptions {
  /** The zip64 form even below 4 GiB. For tests. */
  readonly zip64?: boolean;
}

/** A tensor for `writeTorch`. */
export function torchTensor(
  input: TensorInput,
  options: { requiresGrad?: boolean; isParameter?: boolean } = {},
): TorchTensorInput {
  return { kind: "tensor", ...input, ...options };
}

/** The name of the folder in the archive. PyTorch takes the file's; one name for all gives equal bytes. */
const ROOT = "archive";

/** PyTorch maps records into memory at this alignment. */
const ALIGN_BYTES = 64;

/** Storages are copied from file to file in pieces of this size. */
const COPY_BYTES = 16 * 2 ** 20;

const STORAGE_CLASS = new Map<string, string>(
  Object.entries(STORAGE_DTYPES)
    .filter(([name]) => !name.includes("ntyped"))
    .map(([name, dtype]) => [dtype, name]),
);

/** A record of the archive: the memory of some tensors. */
interface Storage {
  readonly key: string;
  readonly sizeBytes: number;
  readonly chunks: () => AsyncIterable<Uint8Array>;
}

/**
 * Writes a file that `torch.load` reads, with `weights_only` true or false and mapped into memory or not. (With
 * `weights_only=True`, PyTorch itself wants an `argparse.Namespace` to be allowed.)
 *
 * The description comes first, the tensors after it, one at a time: what functions make need not be in memory at once.
 * Equal values give equal bytes. The file appears under its name when it is complete.
 *
 * @param value Borrowed. Tensors of another PyTorch file are copied, with their strides and with what they share: that
 *   file must be open.
 * @throws {TypeError} If Python has nothing like a value. {RangeError} If data does not fit its shape.
 */
export async function writeTorch(path: string, value: TorchInput, options: WriteTorchOptions = {}): Promise<void> {
  const storages: Storage[] = [];
  const pickle = pickleOf(value, storages);
  await writeAtomically(path, async (file) => {
    const zip = new ZipWriter(file, { alignBytes: ALIGN_BYTES, zip64: options.zip64 ?? false });
    await zip.add(`${ROOT}/data.pkl`, pickle);
    await zip.add(`${ROOT}/.format_version`, Buffer.from("1"));
    await zip.add(`${ROOT}/.storage_alignment`, Buffer.from(String(ALIGN_BYTES)));
    await zip.add(`${ROOT}/byteorder`, Buffer.from("little"));
    for (const { key, sizeBytes, chunks } of storages) await zip.addStream(`${ROOT}/data/${key}`, sizeBytes, chunks());
    await zip.add(`${ROOT}/version`, Buffer.from("3\n"));
    await zip.end();
  });
}

/** The pickle, and the storages that it names. */
function pickleOf(value: TorchInput, storages: Storage[]): Uint8Array {
  const known = new Map<unknown, Map<DType, Storage>>(); // by the array, function or record that they are of
  const storageOf = (origin: unknown, dtype: DType, make: () => Omit<Storage, "key">): Storage => {
    const byDtype = known.get(origin) ?? new Map<DType, Storage>();
    known.set(origin, byDtype);
    const found = byDtype.get(dtype);
    if (found) return found;
    const storage = { key: String(storages.length), ...make() };
    byDtype.set(dtype, storage);
    storages.push(storage);
    return storage;
  };

  const writer: PickleWriter = new PickleWriter((object) => {
    if (object instanceof TorchTensor) {
      const { storage, dtype, offset, shape, strides } = object;
      if (!isDType(dtype)) throw new TypeError(`Cannot write a tensor of ${dtype}`);
      const copy = storageOf(storage.record, dtype, () => ({
        sizeBytes: storage.record.sizeBytes,
        chunks: () => copyOf(storage.whole(), dtype),
      }));
      const start = storage.start / dtypeBytes(dtype); // a whole number: the tensor has made sure
      writeTensor(writer, copy, dtype, start + offset, shape, strides, object);
      return true;
    }
    if (object instanceof PickleGlobal) {
      writer.global(object.name);
      return true;
    }
    const known = object as TorchTensorInput | Namespace | TorchDevice | TorchDType | TorchLayout | Complex | Foreign;
    switch (known.kind) {
      case "tensor": {
        const input = checkInput(writer.path.map(String).join("."), known);
        const storage = storageOf(known.data, input.dtype, () => ({
          sizeBytes: input.sizeBytes,
          chunks: () => bytesOfInput(input),
        }));
        if (storage.sizeBytes !== input.sizeBytes)
          throw new RangeError(
            `Cannot write tensor ${JSON.stringify(input.name)}: it shares its data with one of another size`,
          );
        writeTensor(writer, storage, input.dtype, 0, input.shape, rowMajorStrides(input.shape), known);
        return true;
      }
      case "namespace":
        writer.instance("argparse.Namespace", Object.entries(known.fields));
        return true;
      case "device":
        writer.call("torch.device", known.index === undefined ? [known.type] : [known.type, known.index]);
        return true;
      case "dtype":
        writer.global(`torch.${known.name}`);
        return true;
      case "layout":
        writer.call("torch.serialization._get_layout", [known.name]);
        return true;
      case "complex":
        writer.call(
          "__builtin__.complex",
          [known.re, known.im].map((value) => ({ kind: "float", value })),
        );
        return true;
      case "foreign":
        throw new TypeError(`Cannot write a value that ${known.name} made: only that was read`);
      default:
        if (object instanceof TorchStorage) throw new TypeError("Cannot write a storage without a tensor");
        return false;
    }
  });
  writer.value(value);
  return writer.finish();
}

/** `_rebuild_tensor_v2`, or `_v3` for the dtypes that have no storage class. */
function writeTensor(
  writer: PickleWriter,
  storage: Storage,
  dtype: DType,
  offset: number,
  shape: readonly number[],
  strides: readonly number[],
  { requiresGrad = false, isParameter = false }: { readonly requiresGrad?: boolean; readonly isParameter?: boolean },
): void {
  const storageClass = STORAGE_CLASS.get(dtype);
  const elements = storageClass === undefined ? storage.sizeBytes : Math.floor(storage.sizeBytes / dtypeBytes(dtype));
  const persistent = new PersistentId([
    "storage",
    new PickleGlobal(storageClass ?? "torch.storage.UntypedStorage"),
    storage.key,
    "cpu",
    elements,
  ]);
  const rest = storageClass === undefined ? [{ kind: "dtype", name: dtype }] : [];
  const hooks = new OrderedDict();
  const args = [
    persistent,
    offset,
    Object.freeze([...shape]),
    Object.freeze([...strides]),
    !isParameter && requiresGrad,
    hooks,
    ...rest,
  ];
  const rebuild = storageClass === undefined ? "torch._utils._rebuild_tensor_v3" : "torch._utils._rebuild_tensor_v2";
  if (!isParameter) return writer.call(rebuild, args);
  writer.call("torch._utils._rebuild_parameter", [new PickleCall(rebuild, args), requiresGrad, new OrderedDict()]);
}

/** All of another file's storage, little-endian, in pieces. */
async function* copyOf(storage: TorchStorage, dtype: DType): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < storage.sizeBytes; at += COPY_BYTES)
    yield await storage.read(at, Math.min(COPY_BYTES, storage.sizeBytes - at), dtype);
}

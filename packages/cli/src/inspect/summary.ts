import {
  elementCount,
  isDType,
  isNamespace,
  TorchTensor,
  type DataFile,
  type NpyLayout,
  type StoredDType,
  type TensorValue,
  type TorchFile,
  type TorchValue,
} from "@madformer/artifacts";
import { stat } from "node:fs/promises";
import { statsOf, type Stats } from "./stats.js";

/** A tensor of the file. */
export interface TensorSummary {
  /** Of a PyTorch file: the keys that lead to it, joined by dots. */
  readonly name: string;
  readonly dtype: StoredDType;
  readonly shape: readonly number[];
  readonly elements: number;
  readonly sizeBytes: number;
  /** Undefined if it was not asked for or its elements cannot be read, null if no element is finite. */
  readonly stats: Stats | null | undefined;
}

/** What is inside a file. */
export interface Summary {
  readonly path: string;
  readonly kind: DataFile["kind"];
  readonly fileBytes: number;
  readonly metadata: Readonly<Record<string, string>>;
  /** Those that the filter keeps, in the order of the file. */
  readonly tensors: readonly TensorSummary[];
  /** Tensors that the filter leaves out. */
  readonly leftOut: number;
  /** Of a PyTorch file: what was saved. Not part of it where a filter is set. */
  readonly value: TorchValue | undefined;
}

export interface SummarizeOptions {
  readonly stats: boolean;
  readonly keep: ((name: string) => boolean) | undefined;
}

interface Item {
  readonly name: string;
  readonly dtype: StoredDType;
  readonly shape: readonly number[];
  readonly sizeBytes: number;
  readonly read: () => Promise<TensorValue>;
}

/** Lists a file; with `stats`, reads each tensor that is kept, one at a time. */
export async function summarize(path: string, opened: DataFile, { stats, keep }: SummarizeOptions): Promise<Summary> {
  const all = itemsOf(opened);
  const kept = keep ? all.filter(({ name }) => keep(name)) : all;
  const tensors: TensorSummary[] = [];
  for (const { name, dtype, shape, sizeBytes, read } of kept) {
    const figures = stats && isDType(dtype) ? (statsOf(await read()) ?? null) : undefined;
    tensors.push({ name, dtype, shape, elements: elementCount(shape), sizeBytes, stats: figures });
  }
  return {
    path,
    kind: opened.kind,
    fileBytes: (await stat(path)).size,
    metadata: opened.kind === "safetensors" ? opened.file.metadata : {},
    tensors,
    leftOut: all.length - kept.length,
    value: opened.kind === "torch" && !keep ? opened.file.value : undefined,
  };
}

function itemsOf(opened: DataFile): Item[] {
  switch (opened.kind) {
    case "safetensors":
      return opened.file.names.map((name) => ({
        name,
        ...opened.file.tensor(name),
        read: () => opened.file.read(name),
      }));
    case "npz":
      return opened.file.names.map((name) => ({
        name,
        ...listed(opened.file.array(name)),
        read: () => opened.file.read(name),
      }));
    case "npy":
      return [{ name: "", ...listed(opened.file.layout), read: () => opened.file.read() }];
    case "torch":
      return torchItems(opened.file);
    default:
      return opened satisfies never;
  }
}

const listed = ({ dtype, shape, dataBytes }: NpyLayout) => ({ dtype, shape, sizeBytes: dataBytes });

function torchItems(file: TorchFile): Item[] {
  const items: Item[] = [];
  const walk = (value: TorchValue, name: string): void => {
    if (value instanceof TorchTensor)
      items.push({
        name,
        dtype: value.dtype,
        shape: value.shape,
        sizeBytes: value.elements * value.elementBytes,
        read: () => value.read(),
      });
    else for (const [key, child] of childrenOf(value)) walk(child, name === "" ? key : `${name}.${key}`);
  };
  walk(file.value, "");
  return items;
}

/** The values in a value, with their keys as text. */
export function* childrenOf(value: TorchValue): Generator<readonly [string, TorchValue]> {
  if (value instanceof Map) {
    for (const [key, child] of value as ReadonlyMap<TorchValue, TorchValue>)
      yield [typeof key === "string" ? key : typeof key === "object" ? "(...)" : String(key), child];
  } else if (Array.isArray(value)) {
    for (const [index, child] of (value as TorchValue[]).entries()) yield [String(index), child];
  } else if (isNamespace(value)) yield* Object.entries(value.fields);
}

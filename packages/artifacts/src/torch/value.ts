import type { PickleGlobal } from "../pickle/global.js";
import type { OrderedDict } from "../pickle/ordered-dict.js";
import type { ElementType } from "./element-type.js";
import type { TorchStorage } from "./storage.js";
import type { TorchTensor } from "./tensor.js";

/**
 * What a PyTorch file holds.
 *
 * | Python                    | here                                                                 |
 * | ------------------------- | -------------------------------------------------------------------- |
 * | None, bool, str, float    | null, boolean, string, number                                        |
 * | int                       | number, or bigint past 2⁵³                                           |
 * | bytes, bytearray          | Uint8Array                                                           |
 * | list; tuple, torch.Size   | array; frozen array                                                  |
 * | dict; OrderedDict         | Map; OrderedDict, a Map                                              |
 * | set, frozenset            | Set                                                                  |
 * | argparse.Namespace        | { kind: "namespace", fields }                                        |
 * | tensor, Parameter         | TorchTensor                                                          |
 * | device, dtype, layout     | { kind: "device" \| "dtype" \| "layout", ... }                       |
 * | complex; a class's name   | { kind: "complex", re, im }; { kind: "global", name }                |
 * | numpy's values, sparse    | { kind: "foreign", name }: what makes them, nothing of what they are |
 */
export type TorchValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | readonly TorchValue[]
  | ReadonlyMap<TorchKey, TorchValue>
  | OrderedDict<TorchKey, TorchValue>
  | ReadonlySet<TorchValue>
  | TorchTensor
  | TorchStorage
  | Namespace<TorchValue>
  | TorchDevice
  | TorchDType
  | TorchLayout
  | Complex
  | Foreign
  | PickleGlobal;

/** A key of a dict: nearly always a string or a number. */
export type TorchKey = TorchValue;

/** Python's `argparse.Namespace`. `fields` has no prototype: any name is a name. */
export interface Namespace<Value = unknown> {
  readonly kind: "namespace";
  readonly fields: Readonly<Record<string, Value>>;
}

/** `torch.device("cuda", 1)` */
export interface TorchDevice {
  readonly kind: "device";
  readonly type: string;
  readonly index: number | undefined;
}

/** `torch.float32` */
export interface TorchDType {
  readonly kind: "dtype";
  readonly name: ElementType;
}

/** `torch.strided` */
export interface TorchLayout {
  readonly kind: "layout";
  readonly name: string;
}

export interface Complex {
  readonly kind: "complex";
  readonly re: number;
  readonly im: number;
}

/** A value that is only said to be there: `numpy.core.multiarray.scalar`. */
export interface Foreign {
  readonly kind: "foreign";
  readonly name: string;
}

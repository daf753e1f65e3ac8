import { PickleGlobal } from "../pickle/global.js";
import { OrderedDict } from "../pickle/ordered-dict.js";
import { FOREIGN_BYTES, type ElementType } from "./element-type.js";
import { TorchStorage } from "./storage.js";
import { MAX_DIMS, TorchTensor } from "./tensor.js";
import type { Foreign, Namespace, TorchDType } from "./value.js";

type Call = (args: readonly unknown[]) => unknown;

/** PyTorch's classes of storages, by what they hold. */
export const STORAGE_DTYPES: Readonly<Record<string, ElementType>> = {
  "torch.DoubleStorage": "float64",
  "torch.FloatStorage": "float32",
  "torch.HalfStorage": "float16",
  "torch.BFloat16Storage": "bfloat16",
  "torch.LongStorage": "int64",
  "torch.IntStorage": "int32",
  "torch.ShortStorage": "int16",
  "torch.CharStorage": "int8",
  "torch.ByteStorage": "uint8",
  "torch.BoolStorage": "bool",
  "torch.ComplexFloatStorage": "complex64",
  "torch.ComplexDoubleStorage": "complex128",
  "torch.QInt8Storage": "qint8",
  "torch.QUInt8Storage": "quint8",
  "torch.QInt32Storage": "qint32",
  "torch.UntypedStorage": "uint8",
  "torch.storage.UntypedStorage": "uint8",
  "torch.storage._UntypedStorage": "uint8",
};

const DTYPES: readonly ElementType[] = [
  ...(["float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8"] as const),
  ...(["uint64", "uint32", "uint16", "uint8", "bool"] as const),
  ...(Object.keys(FOREIGN_BYTES) as ElementType[]),
];

const isTuple = (value: unknown): value is readonly unknown[] => Array.isArray(value) && Object.isFrozen(value);
const isSizes = (value: unknown): value is readonly number[] =>
  isTuple(value) && value.length <= MAX_DIMS && value.every((size) => typeof size === "number");
const isPairs = (value: unknown): value is readonly (readonly [unknown, unknown])[] =>
  Array.isArray(value) && value.every((pair) => Array.isArray(pair) && pair.length === 2);

/**
 * `_rebuild_tensor(storage, offset, size, stride)`, `_v2(... , requires_grad, hooks, metadata)`,
 * `_v3(... , dtype, metadata)`
 */
function rebuildTensor(args: readonly unknown[], dtypeAt?: number): TorchTensor | undefined {
  const [storage, offset, shape, strides, requiresGrad = false] = args;
  if (!(storage instanceof TorchStorage) || typeof offset !== "number" || !isSizes(shape) || !isSizes(strides))
    return undefined;
  const dtype = dtypeAt === undefined ? storage.dtype : (args[dtypeAt] as TorchDType | undefined)?.name;
  if (typeof requiresGrad !== "boolean" || !DTYPES.includes(dtype as ElementType)) return undefined;
  return new TorchTensor(storage, dtype as ElementType, offset, shape, strides, requiresGrad);
}

/** `_rebuild_qtensor(storage, offset, size, stride, quantizer, requires_grad, hooks)`: whole numbers with a scale. */
const rebuildQuantized: Call = ([storage, offset, shape, strides, , requiresGrad]) =>
  rebuildTensor([storage, offset, shape, strides, requiresGrad]);

function parameter([tensor, requiresGrad = true]: readonly unknown[]): TorchTensor | undefined {
  if (!(tensor instanceof TorchTensor) || typeof requiresGrad !== "boolean") return undefined;
  const { storage, dtype, offset, shape, strides } = tensor;
  return new TorchTensor(storage, dtype, offset, shape, strides, requiresGrad, true);
}

/** `dict()`, of pairs, or of another dict. */
function dictFrom<D extends Map<unknown, unknown>>(dict: D, [items]: readonly unknown[]): D | undefined {
  if (items === undefined) return dict;
  if (!(items instanceof Map) && !isPairs(items)) return undefined;
  for (const [key, value] of items as Iterable<readonly [unknown, unknown]>) dict.set(key, value);
  return dict;
}

function bytesFrom([value, encoding]: readonly unknown[]): Uint8Array | undefined {
  if (value === undefined) return new Uint8Array(0);
  if (value instanceof Uint8Array) return value.slice();
  // Protocol 2 has no bytes: they are text of the characters 0 to 255.
  if (typeof value === "string" && /^latin-?1$/.test(typeof encoding === "string" ? encoding : ""))
    return Uint8Array.from(Buffer.from(value, "latin1"));
  return undefined;
}

const namespace: Call = (args) =>
  args.length
    ? undefined
    : ({ kind: "namespace", fields: Object.create(null) as Record<string, unknown> } satisfies Namespace);
const set: Call = ([items = []]) => (Array.isArray(items) ? new Set(items as unknown[]) : undefined);
const text: Call = ([value]) => (typeof value === "string" ? value : undefined);
const path: Call = (parts) =>
  parts.every((part) => typeof part === "string") ? parts.join("/").replace(/^\/\//, "/") : undefined;

/** What checkpoints hold beside weights and has no use here. Of a value only the name of what makes it is kept. */
const FOREIGN: readonly string[] = [
  "torch._utils._rebuild_sparse_tensor",
  ...["numpy.core.multiarray", "numpy._core.multiarray"].flatMap((module) =>
    ["scalar", "_reconstruct"].map((name) => `${module}.${name}`),
  ),
  "numpy.dtype",
  ...["date", "datetime", "timedelta"].map((name) => `datetime.${name}`),
];

const foreign = (name: string): PickleGlobal =>
  new PickleGlobal(name, () => ({ kind: "foreign", name }) satisfies Foreign);

/**
 * Every function and class that a file may call, by name, and what it stands for here. All else is an error that names
 * it. The second name of a pair is what Python 2, and so protocol 2, calls the module.
 */
const CALLS: Readonly<Record<string, Call>> = {
  "torch._utils._rebuild_tensor": (args) => rebuildTensor(args),
  "torch._utils._rebuild_tensor_v2": (args) => rebuildTensor(args),
  "torch._utils._rebuild_tensor_v3": (args) => rebuildTensor(args, 6),
  "torch._utils._rebuild_qtensor": rebuildQuantized,
  "torch._utils._rebuild_parameter": parameter,
  "torch._utils._rebuild_parameter_with_state": parameter,
  // (function, type, its arguments, state): for tensors that were given attributes; these are left out.
  "torch._tensor._rebuild_from_type_v2": ([rebuild, type, args]) => {
    const allowed = rebuild instanceof PickleGlobal && rebuild.name.startsWith("torch._utils.");
    return allowed && type instanceof PickleGlobal && isTuple(args) ? rebuild.call?.(args) : undefined;
  },
  "torch.Size": ([sizes = Object.freeze([])]) => (isSizes(sizes) ? sizes : undefined),
  "torch.device": ([type, index]) =>
    typeof type === "string" && (index === undefined || typeof index === "number")
      ? { kind: "device", type, index }
      : undefined,
  "torch.serialization._get_layout": ([name]) => (typeof name === "string" ? { kind: "layout", name } : undefined),
  "torch.torch_version.TorchVersion": text,

  "argparse.Namespace": namespace,
  "collections.OrderedDict": (args) => dictFrom(new OrderedDict(), args),
  "collections.defaultdict": ([, ...items]) => dictFrom(new Map(), items), // the first argument makes what is missing
  "collections.Counter": (args) => dictFrom(new Map(), args),
  "builtins.dict": (args) => dictFrom(new Map(), args),
  "builtins.set": set,
  "builtins.frozenset": set,
  "builtins.bytes": bytesFrom,
  "builtins.bytearray": bytesFrom,
  "builtins.complex": ([re, im = 0]) =>
    typeof re === "number" && typeof im === "number" ? { kind: "complex", re, im } : undefined,
  "_codecs.encode": bytesFrom,
  "pathlib.PosixPath": path,
  "pathlib.WindowsPath": path,
  "pathlib.PurePosixPath": path,
  "pathlib._local.PosixPath": path,
  "pathlib._local.WindowsPath": path,
};

/** What may be named but not called: `args.type = int`, the type of a rebuilt tensor. */
const NAMES: readonly string[] = [
  // In protocol 2, int is called long, and str unicode.
  ...["int", "long", "float", "str", "unicode", "bool", "list", "tuple", "object"].map((name) => `builtins.${name}`),
  ...["torch.Tensor", "torch._tensor.Tensor", "torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer"],
  ...["torch.per_tensor_affine", "torch.per_channel_affine", "numpy.ndarray"],
  ...Object.keys(STORAGE_DTYPES),
];

const GLOBALS: ReadonlyMap<string, unknown> = new Map<string, unknown>([
  ...NAMES.map((name) => [name, new PickleGlobal(name)] as const),
  ...Object.entries(CALLS).map(([name, call]) => [name, new PickleGlobal(name, call)] as const),
  ...FOREIGN.map((name) => [name, foreign(name)] as const),
  ...DTYPES.map((name) => [`torch.${name}`, { kind: "dtype", name } satisfies TorchDType] as const),
]);

/** What a global of a PyTorch file stands for, or undefined if it is none that is allowed. */
export function findTorchGlobal(module: string, name: string): unknown {
  return GLOBALS.get(`${module === "__builtin__" ? "builtins" : module}.${name}`);
}

/**
 * Sets the state of what is made without it: a Namespace's fields, the attributes of an OrderedDict. What is foreign
 * has none.
 */
export function buildTorchObject(object: unknown, state: unknown): boolean {
  if ((object as Foreign | null)?.kind === "foreign") return true;
  if (!(state instanceof Map) || ![...(state as Map<unknown, unknown>).keys()].every((key) => typeof key === "string"))
    return false;
  const attributes = state as Map<string, unknown>;
  if (object instanceof OrderedDict) object.attributes = attributes;
  else if ((object as Namespace | null)?.kind === "namespace")
    for (const [key, value] of attributes) (object as { fields: Record<string, unknown> }).fields[key] = value;
  else return false;
  return true;
}

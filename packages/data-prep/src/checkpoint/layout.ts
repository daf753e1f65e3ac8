import {
  isDType,
  isNamespace,
  TorchTensor,
  type StoredDType,
  type TensorValue,
  type TorchValue,
} from "@madformer/artifacts";
import { fileShape, type ParameterSpecs } from "@madformer/model";

/** A tensor of a checkpoint, not yet read. */
export interface FoundTensor {
  readonly dtype: StoredDType;
  readonly shape: readonly number[];
  read(): Promise<TensorValue>;
  /** The same, row-major, where the file can be read in pieces: each is there until the next one is asked for. */
  readonly pieces?: () => AsyncIterable<TensorValue>;
}

/** The weights of one network in a file. */
export interface StateDictFound {
  /** Where it lies, for messages: `["model"]`, `["state_dict"] "module."`. */
  readonly where: string;
  /** By the reference's keys. */
  readonly tensors: ReadonlyMap<string, FoundTensor>;
  /** A key of the file as the reference calls it. */
  readonly rename: (key: string) => string;
}

/** What a file holds of a model. */
export interface Layout {
  /** The weights of the last update. */
  readonly raw: StateDictFound | undefined;
  /** Their average. */
  readonly ema: StateDictFound | undefined;
  /** The command line that is kept with it; empty if there is none. */
  readonly args: ReadonlyMap<string, unknown>;
}

/** A dict of tensors in a file, with the keys that lead to it. */
export interface Dict {
  readonly path: readonly string[];
  readonly tensors: ReadonlyMap<string, FoundTensor>;
}

/** The parameter that every model has, and nothing else is called. */
const MARK = "boi_block";
/** What wrappers write before a part's name. */
const WRAPPERS = /(?:^|(?<=\.))(?:_orig_mod|module)\./g;
/** What `torch.optim.swa_utils.AveragedModel` keeps beside the weights. */
const COUNTERS = new Set(["n_averaged"]);
/** How deep dicts are looked for in a file, and how many. */
const MAX_DEPTH = 6;
const MAX_DICTS = 10_000;

/** All dicts of a PyTorch file that hold tensors. */
export function dictsOf(value: TorchValue): Dict[] {
  const dicts: Dict[] = [];
  const walk = (value: TorchValue, path: readonly string[]): void => {
    if (path.length > MAX_DEPTH || dicts.length > MAX_DICTS) return;
    if (isNamespace(value)) return;
    if (!(value instanceof Map)) return;
    const entries = [...(value as ReadonlyMap<TorchValue, TorchValue>)];
    const tensors = entries.filter(
      (entry): entry is [string, TorchTensor] => typeof entry[0] === "string" && entry[1] instanceof TorchTensor,
    );
    if (tensors.length > 0) dicts.push({ path, tensors: new Map(tensors) });
    for (const [key, child] of entries) if (typeof key === "string") walk(child, [...path, key]);
  };
  walk(value, []);
  return dicts;
}

/**
 * Finds the model in a file: `model` and `ema` of the reference, a bare state dict, or one in the nests of other
 * trainers; with the prefixes of DistributedDataParallel (`module.`), torch.compile (`_orig_mod.`) and whatever module
 * it was a part of.
 *
 * @param fail Makes the error to throw.
 * @throws If there is no model, or more than one that could be meant.
 */
export function findLayout(
  dicts: readonly Dict[],
  args: ReadonlyMap<string, unknown>,
  fail: (problem: string) => Error,
): Layout {
  const found = dicts.flatMap(stateDictsOf);
  if (found.length === 0) {
    const some = dicts.slice(0, 3).map(({ path, tensors }) => `${nameOf(path)}${[...tensors.keys()][0]}`);
    throw fail(
      `no part of it is a MADFormer: no tensor is called ${MARK}${some.length > 0 ? `; it holds ${some.join(", ")}, ...` : ""}`,
    );
  }
  const isAverage = ({ where }: StateDictFound): boolean => /ema|averag|shadow/i.test(where);
  const one = (kind: string, of: StateDictFound[]): StateDictFound | undefined => {
    if (of.length > 1)
      throw fail(`it holds ${of.length} ${kind}: ${of.map(({ where }) => where).join(", ")}; expected one`);
    return of[0];
  };
  return {
    raw: one(
      "models",
      found.filter((dict) => !isAverage(dict)),
    ),
    ema: one("averages of models", found.filter(isAverage)),
    args,
  };
}

const nameOf = (path: readonly string[]): string => path.map((key) => `[${JSON.stringify(key)}]`).join("");

/**
 * The models in a dict: one for each prefix of the mark. Tensors under no model's prefix are counted to the only one,
 * and unexpected.
 */
function stateDictsOf({ path, tensors }: Dict): StateDictFound[] {
  const prefixes = [...tensors.keys()].flatMap((key) => {
    if (key !== MARK && !key.endsWith(`.${MARK}`)) return [];
    return [key.slice(0, -MARK.length)];
  });
  return prefixes.map((prefix) => {
    const rename = (key: string): string =>
      (key.startsWith(prefix) ? key.slice(prefix.length) : key).replace(WRAPPERS, "");
    const own = [...tensors].filter(([key]) => prefixes.length === 1 || key.startsWith(prefix));
    const named = own.filter(([key]) => !COUNTERS.has(key)).map(([key, tensor]) => [rename(key), tensor] as const);
    const where = `${nameOf(path)}${prefix === "" ? "" : ` ${JSON.stringify(prefix)}`}`.trim() || "the file";
    return { where, tensors: new Map(named), rename };
  });
}

/** How many keys of a kind an error names. */
const NAMED_KEYS = 20;

/**
 * What of a state dict does not fit a network, all keys in one list: missing, unexpected, of another shape or type.
 *
 * @param isBuffer Which keys may be there besides.
 * @returns undefined if everything fits.
 */
export function misfit(
  specs: ParameterSpecs,
  { tensors }: StateDictFound,
  isBuffer: (key: string) => boolean = () => false,
): string | undefined {
  const missing = Object.keys(specs).filter((key) => !tensors.has(key));
  const unexpected = [...tensors.keys()].filter((key) => !Object.hasOwn(specs, key) && !isBuffer(key));
  const other = Object.entries(specs).flatMap(([key, spec]) => {
    const [shape, expected] = [tensors.get(key)?.shape, fileShape(spec)];
    if (shape === undefined || shape.join() === expected.join()) return [];
    return [`${key} (${shape.join(", ")}), expected (${expected.join(", ")})`];
  });
  const foreign = [...tensors].flatMap(([key, { dtype }]) =>
    Object.hasOwn(specs, key) && !isDType(dtype) ? [`${key} (${dtype})`] : [],
  );
  const lists = [
    ["missing", missing],
    ["unexpected", unexpected],
    ["of another shape", other],
    ["of a type that is not read here", foreign],
  ] as const;
  const named = lists
    .filter(([, keys]) => keys.length > 0)
    .map(([kind, keys]) => {
      const more = keys.length > NAMED_KEYS ? `, and ${keys.length - NAMED_KEYS} more` : "";
      return `${keys.length} ${kind}: ${keys.slice(0, NAMED_KEYS).join(", ")}${more}`;
    });
  return named.length === 0 ? undefined : named.join("; ");
}

import { OrderedDict } from "../pickle/ordered-dict.js";
import { pyFloat } from "../pickle/write.js";
import { toFloat64 } from "../tensor/convert.js";
import type { TensorInput } from "../tensor/input.js";
import { isNamespace, type TorchFile } from "./read.js";
import { TorchTensor } from "./tensor.js";
import type { TorchValue } from "./value.js";
import { torchTensor, writeTorch, type TorchInput, type WriteTorchOptions } from "./write.js";

/** A tensor of a checkpoint: to be written, or of a file that is open. */
export type CheckpointTensor = TensorInput | TorchTensor;

/**
 * Parameters by name, in the order of the model: the optimizer counts them in it, but for buffers, which it does not
 * have (`isBufferName`).
 */
export type StateDict = ReadonlyMap<string, CheckpointTensor>;

/** A training run, as the reference implementation saves it. */
export interface TorchCheckpoint {
  readonly model: StateDict;
  readonly ema: StateDict;
  readonly opt: AdamWState;
  /** Null for a constant learning rate, which is saved without a scheduler. */
  readonly lrs: LambdaLRState | null;
  /** The command line of the training run. */
  readonly args: Readonly<Record<string, TorchInput>>;
  /** Where the run stands: counters that the branch with classes keeps beside the rest, by name. */
  readonly counters?: Readonly<Record<string, number>>;
}

/** What the branch with classes writes behind `args`, from which its own training goes on (spec section 27). */
const COUNTERS = ["train_steps", "step_in_current_epoch", "running_loss", "epoch"] as const;

/** Whether an entry of a state dict is no parameter: frequencies of a rotary embedding. */
export const isBufferName = (name: string): boolean => /(^|\.)inv_freq$/.test(name);

/** State of `torch.optim.AdamW`. */
export interface AdamWState {
  /** By parameter, in the order of the model. A parameter that was never updated has none. */
  readonly moments: ReadonlyMap<string, AdamWMoments>;
  readonly groups: readonly AdamWGroup[];
}

export interface AdamWMoments {
  /** Updates so far. */
  readonly step: number;
  /** Running mean of the gradient, m. */
  readonly expAvg: CheckpointTensor;
  /** Running mean of its square, v. */
  readonly expAvgSq: CheckpointTensor;
}

/** Parameters that are updated alike. */
export interface AdamWGroup {
  /** Now: with a scheduler, that of the next update. */
  readonly lr: number;
  readonly betas: readonly [number, number];
  readonly eps: number;
  readonly weightDecay: number;
  /** Before the scheduler's factor; undefined without one. */
  readonly initialLr?: number | undefined;
  /** Names. */
  readonly params: readonly string[];
}

/** State of `torch.optim.lr_scheduler.LambdaLR`. */
export interface LambdaLRState {
  readonly baseLrs: readonly number[];
  /** Updates so far. */
  readonly lastEpoch: number;
  readonly stepCount: number;
  readonly lastLr: readonly number[];
}

/** Arguments that Python parsed as floats: `max_grad_norm` 1.0 stays one. All that are not whole are floats anyway. */
const FLOAT_ARGS: ReadonlySet<string> = new Set([
  ...["lr", "weight_decay", "beta1", "beta2", "lr_warmup", "max_grad_norm"],
  ...["lambda_hidden_loss", "clear_tower_loss_lambda", "text_loss_lambda", "image_loss_lambda"],
]);

/**
 * Writes a checkpoint that the reference implementation's programs load, and that training there can go on from:
 * `model`, `ema`, `opt`, `lrs`, `args`. `torch.load` takes it with `weights_only=True` too, which refuses the
 * `argparse.Namespace` that the reference saves: `args` is an OrderedDict whose items are its attributes as well, so
 * that `args.lr`, `vars(args)` and `args["lr"]` say the same.
 *
 * Source: reference specification, section 10; the fields of PyTorch 2.13's `AdamW.state_dict` and
 * `LambdaLR.state_dict`.
 *
 * @param path By the reference's habit `<7 digits>.pt`.
 * @param checkpoint Borrowed. Its tensors are written one at a time: what functions make need not be in memory at once.
 * @throws {RangeError} If data does not fit its shape, or the optimizer has a parameter that the model has not.
 */
export async function writeTorchCheckpoint(
  path: string,
  checkpoint: TorchCheckpoint,
  options?: WriteTorchOptions,
): Promise<void> {
  const { model, ema, opt, lrs, args, counters = {} } = checkpoint;
  const indexOf = new Map([...model.keys()].filter((name) => !isBufferName(name)).map((name, index) => [name, index]));
  const index = (name: string): number => {
    const found = indexOf.get(name);
    if (found === undefined)
      throw new RangeError(
        `Cannot write ${JSON.stringify(path)}: the optimizer has ${JSON.stringify(name)}, which the model has not`,
      );
    return found;
  };
  const state = [...opt.moments]
    .map(([name, { step, expAvg, expAvgSq }]) => {
      const fields = {
        step: tensor({ shape: [], data: Float32Array.of(step) }),
        exp_avg: tensor(expAvg),
        exp_avg_sq: tensor(expAvgSq),
      };
      return [index(name), fields] as const;
    })
    .sort(([a], [b]) => a - b);
  const groups = opt.groups.map(({ lr, betas, eps, weightDecay, initialLr, params }) => ({
    lr: pyFloat(lr),
    betas: Object.freeze(betas.map(pyFloat)),
    eps: pyFloat(eps),
    weight_decay: pyFloat(weightDecay),
    amsgrad: false,
    maximize: false,
    foreach: null,
    capturable: false,
    differentiable: false,
    fused: null,
    decoupled_weight_decay: true,
    ...(initialLr === undefined ? {} : { initial_lr: pyFloat(initialLr) }),
    params: params.map(index),
  }));
  const fields = Object.entries(args).map(([name, value]) => [
    name,
    typeof value === "number" && FLOAT_ARGS.has(name) ? pyFloat(value) : value,
  ]);
  await writeTorch(
    path,
    {
      model: stateDict(model),
      ema: stateDict(ema),
      opt: { state: new Map(state), param_groups: groups },
      lrs: lrs
        ? {
            base_lrs: lrs.baseLrs.map(pyFloat),
            last_epoch: lrs.lastEpoch,
            _step_count: lrs.stepCount,
            _is_initial: false,
            _get_lr_called_within_step: false,
            _last_lr: lrs.lastLr.map(pyFloat),
            lr_lambdas: lrs.baseLrs.map(() => ({})),
          }
        : {},
      args: argumentsOf(fields as [string, TorchInput][]),
      ...Object.fromEntries(
        Object.entries(counters).map(([name, value]) => [name, name === "running_loss" ? pyFloat(value) : value]),
      ),
    },
    options,
  );
}

/** `weights_only=True` lets an OrderedDict have attributes, because state dicts have them. */
function argumentsOf(fields: readonly (readonly [string, TorchInput])[]): TorchInput {
  const args = new OrderedDict<TorchInput, TorchInput>(fields);
  args.attributes = new Map(fields);
  return args;
}

function tensor(value: CheckpointTensor): TorchInput {
  return value instanceof TorchTensor ? value : torchTensor(value);
}

function stateDict(tensors: StateDict): TorchInput {
  return new OrderedDict<TorchInput, TorchInput>([...tensors].map(([name, value]) => [name, tensor(value)]));
}

/**
 * The parts of a checkpoint, in the terms of `writeTorchCheckpoint`. Tensors can be read as long as the file is open.
 *
 * @throws {FormatError} If a part is missing or is something else.
 */
export async function readTorchCheckpoint(file: TorchFile): Promise<TorchCheckpoint> {
  const model = file.tensors("model");
  const names = [...model.keys()].filter((name) => !isBufferName(name));
  const read = new Fields(file);
  const nameAt = (index: unknown): string =>
    names[index as number] ?? read.fail(`the optimizer has parameter ${String(index)} of ${names.length}`);

  const moments = new Map<string, AdamWMoments>();
  for (const index of read.dict("opt", "state").keys()) {
    const at = ["opt", "state", index as number] as const;
    const [step = NaN] = toFloat64(await read.tensor(...at, "step").read());
    moments.set(nameAt(index), {
      step,
      expAvg: read.tensor(...at, "exp_avg"),
      expAvgSq: read.tensor(...at, "exp_avg_sq"),
    });
  }
  const groups = read.list("opt", "param_groups").map((_, i) => {
    const at = ["opt", "param_groups", i] as const;
    const [beta1 = NaN, beta2 = NaN] = read.numbers(...at, "betas");
    return {
      lr: read.number(...at, "lr"),
      betas: [beta1, beta2] as const,
      eps: read.number(...at, "eps"),
      weightDecay: read.number(...at, "weight_decay"),
      ...(file.get(...at, "initial_lr") === undefined ? {} : { initialLr: read.number(...at, "initial_lr") }),
      params: read.numbers(...at, "params").map(nameAt),
    };
  });
  const lrs = read.dict("lrs").size
    ? {
        baseLrs: read.numbers("lrs", "base_lrs"),
        lastEpoch: read.number("lrs", "last_epoch"),
        stepCount: read.number("lrs", "_step_count"),
        lastLr: read.numbers("lrs", "_last_lr"),
      }
    : null;
  const counters = COUNTERS.flatMap((name) => {
    const value = file.get(name);
    return typeof value === "number" ? [[name, value] as const] : [];
  });
  return {
    ...(counters.length > 0 ? { counters: Object.fromEntries(counters) } : {}),
    model,
    ema: file.tensors("ema"),
    opt: { moments, groups },
    lrs,
    args: read.args(),
  };
}

type Keys = readonly (string | number)[];

/** Values of a file that must be of one kind. */
class Fields {
  constructor(private readonly file: TorchFile) {}

  fail(problem: string): never {
    throw this.file.error(problem);
  }

  number(...keys: Keys): number {
    return this.is(keys, "a number", (value): value is number => typeof value === "number");
  }

  numbers(...keys: Keys): readonly number[] {
    const isNumbers = (value: unknown): value is readonly number[] =>
      Array.isArray(value) && value.every((item) => typeof item === "number");
    return this.is(keys, "a list of numbers", isNumbers);
  }

  list(...keys: Keys): readonly TorchValue[] {
    return this.is(keys, "a list", (value): value is readonly TorchValue[] => Array.isArray(value));
  }

  dict(...keys: Keys): ReadonlyMap<TorchValue, TorchValue> {
    return this.is(keys, "a dict", (value): value is ReadonlyMap<TorchValue, TorchValue> => value instanceof Map);
  }

  tensor(...keys: Keys): TorchTensor {
    return this.is(keys, "a tensor", (value): value is TorchTensor => value instanceof TorchTensor);
  }

  /** A Namespace, as the reference saves it, or a dict. */
  args(): Readonly<Record<string, TorchValue>> {
    const args = this.file.get("args");
    if (isNamespace(args)) return args.fields;
    const isNamed = args instanceof Map && [...args.keys()].every((key) => typeof key === "string");
    if (!isNamed) return this.fail('["args"] is no argparse.Namespace and no dict of names');
    const fields = Object.create(null) as Record<string, TorchValue>; // any name is a name
    for (const [name, value] of args as ReadonlyMap<string, TorchValue>) fields[name] = value;
    return fields;
  }

  private is<T>(keys: Keys, kind: string, test: (value: unknown) => value is T): T {
    const value = this.file.get(...keys) as unknown;
    return test(value) ? value : this.fail(`${keys.map((key) => `[${JSON.stringify(key)}]`).join("")} is not ${kind}`);
  }
}

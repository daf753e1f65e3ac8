import * as tf from "@tensorflow/tfjs-core";
import { flatten, unflatten, type Tree } from "../signature.js";

/** The kernel of programs that are traced; where tfjs computes by itself, a barrier is nothing. */
export const BARRIER = "Barrier";

/** What a part of a network takes and gives, by name. */
type Named = Readonly<Record<string, tf.Tensor>>;

/** What `tf.customGrad` calls, which itself allows one result only. */
interface WithKernelFunctions {
  runKernelFunc(functions: object): tf.Tensor | tf.Tensor[];
}

/** Says that a part depends on a tensor that is there anyway, such as a weight, and gives what to take for it. */
export type Use = <T extends tf.Tensor>(weight: T) => T;

/**
 * A part of a network: a pure function that takes what it depends on from its arguments alone.
 *
 * @param use Everything else that it takes and that has a gradient goes through it.
 */
export type Part<In extends object, Out extends object, Constants extends object> = (
  inputs: In,
  use: Use,
  constants: Constants,
) => Out;

/**
 * A part of a network whose values are computed a second time for the gradients, instead of being kept until then
 * (gradient checkpointing): of all that the part computes, its inputs alone are held.
 *
 * The numbers are those of the part itself, to the bit where an engine has one kernel for one operation; what is used
 * by several parts gets its gradients added up part by part. The second time begins when the gradients of the results
 * are there, and has ended before the gradients of the inputs go on: so parts that follow one another are in memory one
 * at a time.
 *
 * Source: Chen et al. 2016, arXiv:1604.06174.
 *
 * @param inputs Tensors by name, float32, which the part begins from. Borrowed.
 * @param constants A tree of what the part takes besides and that has no gradient. Borrowed.
 * @returns What `part` returns, tensors by name; new ones.
 */
export function recomputed<In extends object, Out extends object, Constants extends object>(
  part: Part<In, Out, Constants>,
  inputs: In,
  constants: Constants = {} as Constants,
): Out {
  const weights = new Map<tf.Tensor, string>();
  // tfjs looks at these after the forward pass, which finds out what the part uses.
  const sources: tf.NamedTensorMap = { ...(inputs as Named) };
  const use: Use = (weight) => {
    if (!weights.has(weight)) {
      const name = `weight ${weights.size}`;
      weights.set(weight, name);
      sources[name] = weight;
    }
    return weight;
  };
  const held = flatten<tf.Tensor>(constants as Tree<tf.Tensor>, (x) => x instanceof tf.Tensor, "recomputed: constants");
  let names: readonly string[] = [];

  const forwardFunc = (_backend: unknown, save: tf.GradSaveFunc): tf.Tensor[] => {
    const results: object = part(inputs, use, constants);
    names = Object.keys(results);
    save([...Object.values(sources), ...held.values()]);
    return Object.values(results as Named).map((result) => tf.clone(result)); // it may be one of the inputs
  };
  const backwardsFunc = (dy: tf.Tensor | tf.Tensor[], saved: readonly tf.Tensor[]) => {
    const dys = Array.isArray(dy) ? dy : [dy];
    const count = Object.keys(inputs).length;
    const again = saved.slice(0, count).map((x) => barrier(x, dys));
    const xs = [...again, ...saved.slice(count, count + weights.size)];
    const compute = (): Out => {
      const byWeight = new Map([...weights.keys()].map((weight, i) => [weight, xs[count + i] as tf.Tensor]));
      const use: Use = <T extends tf.Tensor>(weight: T) => byWeight.get(weight) as T;
      const keptConstants = unflatten([...held.keys()].map((path, i) => [path, saved[xs.length + i] as tf.Tensor]));
      return part(named(Object.keys(inputs), again) as In, use, keptConstants as Constants);
    };
    const gradients = gradientsOf(() => Object.values(compute() as Named), xs, dys);
    // Whatever goes on from the inputs' gradients waits for all of them, so that nothing of the part is held longer.
    const [own, others] = [gradients.slice(0, count), gradients.slice(count)];
    const ended = own.map((gradient, i) => barrier(gradient, [...own.filter((_, j) => j !== i), ...others]));
    return Object.fromEntries(Object.keys(sources).map((name, i) => [name, () => [...ended, ...others][i]]));
  };

  const functions = { forwardFunc, backwardsFunc, inputs: sources };
  const results = (tf.engine() as unknown as WithKernelFunctions).runKernelFunc(functions) as tf.Tensor[];
  return named(names, results) as Out;
}

/** Tensors by name. */
function named(names: readonly string[], tensors: readonly tf.Tensor[]): Named {
  return Object.fromEntries(names.map((name, i) => [name, tensors[i] as tf.Tensor]));
}

/**
 * Gradients of several results at once, those of Σ y∘dy; zeros where there are none. It works inside of another
 * gradient function: tfjs' tape, which is one for all, is put aside meanwhile.
 */
function gradientsOf(f: () => readonly tf.Tensor[], xs: readonly tf.Tensor[], dys: readonly tf.Tensor[]): tf.Tensor[] {
  const state = tf.engine().state as unknown as { activeTape: unknown };
  const tape = state.activeTape;
  const alone = dys.length === 1;
  const total = (): tf.Tensor => {
    const ys = f();
    return alone ? tf.clone(ys[0]!) : tf.addN(ys.map((y, i) => tf.sum(tf.mul(y, dys[i]!))));
  };
  try {
    const { grads } = tf.engine().gradients(total, [...xs], (alone ? dys[0] : null) as tf.Tensor, true);
    return xs.map((x, i) => grads[i] ?? tf.zerosLike(x));
  } finally {
    state.activeTape = tape;
  }
}

/** x, when all of `after` is there, and never taken for x itself. */
function barrier(x: tf.Tensor, after: readonly tf.Tensor[]): tf.Tensor {
  if (after.length === 0 || !tf.getKernel(BARRIER, tf.getBackend())) return tf.clone(x);
  const inputs = Object.fromEntries([x, ...after].map((tensor, i) => [`x${i}`, tensor]));
  return tf.engine().runKernel(BARRIER, inputs);
}

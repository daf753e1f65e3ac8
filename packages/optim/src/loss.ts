import * as tf from "@tensorflow/tfjs-core";

/** A loss and its terms, unweighted, by name: scalars. */
export type Losses<Term extends string> = Readonly<Record<Term | "loss", tf.Scalar>>;

/** One term of a loss. */
export interface LossTerm {
  /** λ, not negative. */
  readonly weight: number;
  /** Makes the term, without its weight. Not called where that is 0. */
  readonly value: () => tf.Scalar;
}

/**
 * A loss of several terms, added up in their order:
 *
 *     loss = Σ λ · term
 *
 * @param terms By name; "loss" is that of their sum.
 * @returns The loss and every term, new scalars. A term of weight 0 is not computed and given as 0.
 */
export function weightedLoss<Term extends string>(terms: Readonly<Record<Term, LossTerm>>): Losses<Term> {
  let loss: tf.Scalar | undefined;
  const values = Object.entries<LossTerm>(terms).map(([name, { weight, value }]): [string, tf.Scalar] => {
    if (weight === 0) return [name, tf.scalar(0)];
    const term = value();
    const weighted: tf.Scalar = weight === 1 ? term : tf.mul(term, weight);
    loss = loss ? tf.add(loss, weighted) : weighted;
    return [name, term];
  });
  return { loss: loss ?? tf.scalar(0), ...Object.fromEntries(values) } as Losses<Term>;
}

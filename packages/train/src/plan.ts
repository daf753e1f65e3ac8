import type { TrainConfig } from "./config.js";

/**
 * What happens at which step of a run: a function of the config, the number of images and what it is carried on from
 * alone. Steps count from 1, those of a run before this one among them.
 */
export interface Plan {
  readonly steps: number;
  /** Steps of the run before, which are not made here. */
  readonly before: number;
  /** Images of one update: all its runs together. */
  readonly stepImages: number;
  /** Whether a line is logged after a step. */
  readonly logs: (step: number) => boolean;
  /** Whether a grid of samples is made after a step. */
  readonly samples: (step: number) => boolean;
  /** Whether a checkpoint is made after a step. */
  readonly saves: (step: number) => boolean;
  /** Of the checkpoints up to a step, those that are kept once the step's own is made; rising. */
  readonly kept: (step: number) => readonly number[];
}

/**
 * @param images Images there are.
 * @param before Steps that the run was made of that this one carries on.
 */
export function planOf(config: TrainConfig, images: number, before = 0): Plan {
  const stepImages = config.batchImages * config.accumulate;
  const steps = config.epochs === undefined ? config.steps : Math.ceil((config.epochs * images) / stepImages);
  const every = (step: number, k: number): boolean => k > 0 && step % k === 0;
  const marks = config.keepAt.map((share) => Math.max(1, Math.round(share * steps)));
  const marked = new Set(marks.filter((mark) => mark > before));
  const saves = (step: number): boolean =>
    step >= 1 && (step === steps || every(step, config.checkpointEvery) || marked.has(step));
  return {
    steps,
    before,
    stepImages,
    logs: (step) => step === steps || every(step, config.logEvery),
    samples: (step) => step >= 1 && every(step, config.sampleEvery),
    saves,
    kept: (step) => {
      const kept = new Set([...marked].filter((mark) => mark <= step));
      for (let k = step, left = config.keepLast; k > before && left > 0; k--)
        if (saves(k)) {
          kept.add(k);
          left--;
        }
      return [...kept].sort((a, b) => a - b);
    },
  };
}

/** Name of a step's files: `step-0000400`. */
export function stepName(step: number): string {
  return `step-${String(step).padStart(7, "0")}`;
}

import type { TrainConfig } from "./config.js";

/** What happens at which step of a run: a function of the config and the number of images alone. Steps count from 1. */
export interface Plan {
  readonly steps: number;
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

/** @param images Images there are. */
export function planOf(config: TrainConfig, images: number): Plan {
  const stepImages = config.batchImages * config.accumulate;
  const steps = config.epochs === undefined ? config.steps : Math.ceil((config.epochs * images) / stepImages);
  const every = (step: number, k: number): boolean => k > 0 && step % k === 0;
  const marked = new Set(config.keepAt.map((share) => Math.max(1, Math.round(share * steps))));
  const saves = (step: number): boolean =>
    step >= 1 && (step === steps || every(step, config.checkpointEvery) || marked.has(step));
  return {
    steps,
    stepImages,
    logs: (step) => step === steps || every(step, config.logEvery),
    samples: (step) => step >= 1 && every(step, config.sampleEvery),
    saves,
    kept: (step) => {
      const kept = new Set([...marked].filter((mark) => mark <= step));
      for (let k = step, left = config.keepLast; k >= 1 && left > 0; k--)
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

/**
 * One page about a run: samples, curves, scores and where they come from.
 */
export {};

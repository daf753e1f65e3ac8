/** Prefixes of a graph's input and output names: what `trace` writes, and every backend and file reads. */
export const STATE = "state/";
export const INPUTS = "inputs/";
export const NEXT_STATE = "next/";
export const OUTPUTS = "outputs/";

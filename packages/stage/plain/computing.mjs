/**
 * The words by which people say what a stage computes with, in pipeline.json and on command lines, and the variables of
 * the environment behind them. Plain JavaScript, because Nx has to know them before anything is built.
 */

import process from "node:process";

/** @typedef {import("./computing.mjs").ComputeWords} ComputeWords */

export const VARIABLES = /** @type {const} */ ({
  engine: "MADFORMER_ENGINE",
  precision: "MADFORMER_PRECISION",
  threads: "MADFORMER_THREADS",
});

/** Where engines lie that npm does not bring: another folder may hold other versions. */
export const ENGINES_VARIABLE = "MADFORMER_ENGINES";

/** The library that the engine `xla` loads in place of one that is installed. */
export const PLUGIN_VARIABLE = "MADFORMER_PJRT_PLUGIN";

/**
 * What is asked for, word by word, whether or not there is such a thing: in the pipeline, or else by the environment;
 * and the folder of engines or the plugin, where somebody says another one.
 *
 * @param {ComputeWords} words
 * @returns {Record<string, string>}
 */
export function askedOf(words) {
  const said = new Map(Object.entries(words));
  const asked = Object.entries(VARIABLES).map(
    ([word, variable]) => /** @type {const} */ ([word, String(said.get(word) ?? process.env[variable] ?? "")]),
  );
  const places = [
    /** @type {const} */ (["folder of engines", process.env[ENGINES_VARIABLE] ?? ""]),
    /** @type {const} */ (["PJRT plugin", process.env[PLUGIN_VARIABLE] ?? ""]),
  ];
  return Object.fromEntries([...asked, ...places.filter(([, place]) => place !== "")]);
}

/**
 * The stages that sample a model again, with other seeds, and score it: how much its score differs by chance.
 */

/**
 * @typedef {import("../../packages/stage/plain/pipeline-file.mjs").PipelineEntry} Entry
 * @typedef {{ uses: string, needs: Record<string, string>, config: Record<string, unknown>,
 *   engine?: string | undefined, precision?: string | undefined, threads?: number | undefined }} Plain
 */

/**
 * What the score of samples depends on from sampling on: `sample`, `features`, `score`, by what a pipeline calls them.
 *
 * @param {readonly Entry[]} stages
 * @param {string} score
 * @returns {{ sample: string, chain: string[] }} The chain begins with the stage that samples, and ends with the score.
 */
export function sampledChain(stages, score) {
  const byName = new Map(stages.map((stage) => [stage.name, stage]));
  const chain = [];
  for (let at = byName.get(score); at !== undefined;) {
    chain.unshift(at.name);
    if (at.uses === "sample") return { sample: at.name, chain };
    const { samples, images } = at.needs;
    at = byName.get(samples ?? images ?? "");
  }
  throw new Error(`stage "${score}" scores no samples of a stage "sample"; expected one that does`);
}

/**
 * The same chain, again and again: repeat k has as many seeds as the original, beyond the highest of those before.
 *
 * @param {readonly Entry[]} stages
 * @param {readonly string[]} chain From `sampledChain`.
 * @param {{ count: number, highest: number }} seeds How many the original has, and the highest of them.
 * @param {number} repeats
 * @returns {{ stages: Record<string, Plain>, scores: string[] }} To be added to the pipeline; the names of the scores.
 */
export function repeatedStages(stages, chain, { count, highest }, repeats) {
  const byName = new Map(stages.map((stage) => [stage.name, stage]));
  /** @type {Record<string, Plain>} */
  const added = {};
  const scores = [];
  for (let k = 1; k <= repeats; k++) {
    const nameOf = (/** @type {string} */ name) => `repeat-${k}-${name}`;
    const first = highest + 1 + (k - 1) * count;
    for (const name of chain) {
      const { uses, needs, config, compute } = /** @type {Entry} */ (byName.get(name));
      added[nameOf(name)] = {
        uses,
        needs: Object.fromEntries(
          Object.entries(needs).map(([input, need]) => [input, chain.includes(need) ? nameOf(need) : need]),
        ),
        config: name === chain[0] ? { ...config, seeds: `${first}-${first + count - 1}` } : config,
        ...compute,
      };
    }
    scores.push(nameOf(chain.at(-1) ?? ""));
  }
  return { stages: added, scores };
}

/**
 * The highest seed that a text such as "0-31" or "3,7,10-12" names.
 *
 * @param {string} text As a sample's manifest holds it.
 * @returns {number}
 */
export function highestSeed(text) {
  const seeds = text.split(/[,-]/).map((word) => (word.trim() === "" ? NaN : Number(word)));
  if (!seeds.every((seed) => Number.isSafeInteger(seed) && seed >= 0))
    throw new RangeError(`seeds are ${JSON.stringify(text)}, expected such as "0-31"`);
  return Math.max(...seeds);
}

/**
 * What an evaluation found: as data that a program can check, and as the table that people read.
 */
import { z } from "zod";

const Digest = z.string().regex(/^[0-9a-f]{64}$/);
const Commit = z.string().regex(/^[0-9a-f]{40,64}$/);
const Name = z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/);
const Text = z.string().max(500);
/** One stage on one side: nothing where the pipeline has none. */
const Made = z.strictObject({ key: Digest, manifest: Digest }).nullable();

/** A result may come from a stranger's pull request: everything is bounded, and text is quoted when it is shown. */
export const Evaluation = z.strictObject({
  format: z.literal(1),
  pipeline: Name,
  base: z.strictObject({ ref: Text, commit: Commit }),
  head: z.strictObject({
    commit: Commit,
    /** Files that are not as in the commit. */
    changed: z.boolean(),
  }),
  metric: Text,
  samples: z.int().positive(),
  referenceImages: z.int().positive().nullable(),
  score: z.number(),
  baseScore: z.number(),
  /** Scores of the base with other sampling seeds. */
  repeats: z.array(z.number()).max(16),
  noise: z.number().nonnegative(),
  verdict: z.enum(["better", "no difference beyond noise", "worse within noise", "worse"]).nullable(),
  /** Why there is no verdict. */
  incomparable: Text.nullable(),
  others: z.array(z.strictObject({ name: Text, score: z.number(), base: z.number() })).max(16),
  stages: z
    .array(
      z.strictObject({
        name: Name,
        base: Made,
        head: Made,
        /** Whether this evaluation ran it for the head; else it was known. */
        computed: z.boolean(),
        changes: z.array(Text).max(50),
      }),
    )
    .max(1000),
});
/** @typedef {z.infer<typeof Evaluation>} Evaluation */

/** @param {number} value */
const shown = (value) => (Math.abs(value) >= 100 ? value.toFixed(1) : value.toPrecision(4));
/** @param {number} value */
const signed = (value) => (value > 0 ? `+${shown(value)}` : value < 0 ? `−${shown(-value)}` : "0");

/**
 * Text as Markdown shows it, whatever it holds: no link, no mention, no picture.
 *
 * @param {string} text
 */
export function quoted(text) {
  const plain = text.replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, " ").replaceAll("|", "¦");
  const fence = "`".repeat(Math.max(0, ...[...plain.matchAll(/`+/g)].map(([run]) => run.length)) + 1);
  const space = /^[` ]|[` ]$|^$/.test(plain) ? " " : "";
  return `${fence}${space}${plain}${space}${fence}`;
}

/**
 * The table of an evaluation.
 *
 * @param {Evaluation} result
 * @returns {string} Markdown.
 */
export function markdownOf(result) {
  const { pipeline, metric, score, baseScore, noise, repeats, samples, verdict, incomparable, stages } = result;
  const changed = stages.filter(({ changes }) => changes.length > 0);
  const short = (/** @type {string} */ commit) => `\`${commit.slice(0, 12)}\``;
  const lines = [
    `### \`${pipeline}\`: ${verdict === null ? "not comparable" : verdict}`,
    "",
    "| | score | base | difference | noise | samples |",
    "| --- | ---: | ---: | ---: | ---: | ---: |",
    `| ${quoted(metric)} | ${shown(score)} | ${shown(baseScore)} | ${signed(score - baseScore)} | ±${shown(noise)} | ${samples} |`,
    ...result.others.map(
      ({ name, score, base }) => `| ${quoted(name)} | ${shown(score)} | ${shown(base)} | ${signed(score - base)} | | |`,
    ),
    "",
    ...(incomparable === null ? [] : [`The scores cannot be compared: ${quoted(incomparable)}`, ""]),
    `Base ${short(result.base.commit)}, head ${short(result.head.commit)}${result.head.changed ? " with changes that are not committed" : ""}. ` +
      `Lower is better. Noise: what two scores of the base differ by at most, 19 times of 20, measured with ${repeats.length} other sets of sampling seeds ` +
      `(${repeats.map(shown).join(", ")}).`,
    "",
    ...(changed.length === 0
      ? ["No stage changed: the score is the base's.", ""]
      : [
          "What changed:",
          "",
          ...changed.flatMap(({ name, changes }) => [
            `- \`${name}\``,
            ...changes.map((change) => `  - ${quoted(change)}`),
          ]),
          "",
        ]),
    "<details><summary>Lineage</summary>",
    "",
    "| stage | base | head | |",
    "| --- | --- | --- | --- |",
    ...stages.map(({ name, base, head, computed }) => {
      const cell = (/** @type {typeof base} */ made) => (made ? short(made.manifest) : "none");
      const state = head?.manifest === base?.manifest ? "the same" : "another";
      return `| \`${name}\` | ${cell(base)} | ${cell(head)} | ${state}${computed ? ", computed" : ", known"} |`;
    }),
    "",
    "Digests of the manifests, which name every file.",
    "",
    "</details>",
    "",
  ];
  return lines.join("\n");
}

import { html } from "../html/html.js";
import type { Run } from "../run.js";
import { TITLES } from "../inputs.js";
import { digestCode, type Section } from "./section.js";

/** The commands, and how to see that they led to the same. */
export function reproduceSection({ lineage }: Run, commands: string): Section {
  const top = lineage.nodes[0];
  return {
    id: "reproduce",
    title: "How to reproduce it",
    content: html`<pre><code>${commands.trim()}</code></pre>
      <p>
        ${
          top &&
          html`The manifest of ${TITLES[top.name].toLowerCase()} then has the digest ${digestCode(top.artifact.digest)}. `
        }If
        it has another, compare the digests under <a href="#lineage">Lineage</a> from the data upwards: the first that
        differs is where the two runs part. Stages write the same bytes for the same program, config and inputs; another
        kind of processor may round sums another way, and weights then differ in their last digits.
      </p>`,
  };
}

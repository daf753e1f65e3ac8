import type { Artifact, Digest } from "@madformer/artifacts";
import { TITLES, type StageName } from "../inputs.js";

/** An input of a stage, as its record names it. */
export interface Link {
  /** What the stage calls it, such as `checkpoint`. */
  readonly input: string;
  readonly stage: string;
  readonly digest: Digest;
  /** The artifact of this page that it is, if one has its digest. */
  readonly to: StageName | undefined;
  /** Another artifact of the same stage is on the page: the two belong to different runs. */
  readonly differs: boolean;
}

/** An artifact of the page and what it was made from. */
export interface LineageNode {
  readonly name: StageName;
  readonly artifact: Artifact;
  readonly links: readonly Link[];
}

/** Where everything on the page comes from, and what does not fit together. */
export interface Lineage {
  /** Each after those that were made from it: scores first, the data last. */
  readonly nodes: readonly LineageNode[];
  /** Links whose digest was found on the page. */
  readonly confirmed: number;
  /** Sentences about what does not fit, empty if all does. */
  readonly problems: readonly string[];
}

/**
 * Follows every stage's record to its inputs, and compares digests: a page may be given artifacts of several runs, and
 * nothing but the digests says that they belong together.
 *
 * @param artifacts In the order in which stages are made.
 */
export function traceLineage(artifacts: ReadonlyMap<StageName, Artifact>): Lineage {
  const byDigest = new Map([...artifacts].map(([name, artifact]) => [artifact.digest, name]));
  const stages = new Set([...artifacts.values()].map((artifact) => artifact.manifest.stage));
  const problems: string[] = [];
  const nodes = [...artifacts].map(([name, artifact]): LineageNode => {
    const { record } = artifact;
    if (record && record.manifest !== artifact.digest)
      problems.push(
        `The record of ${TITLES[name]} is about another output: ${short(record.manifest)}, not ${short(artifact.digest)}`,
      );
    const links = Object.entries(record?.inputs ?? {}).map(([input, { stage, digest }]): Link => {
      const to = byDigest.get(digest);
      // What a training run goes on from is a run before this one: its stage is on the page, and it need not be.
      const differs = to === undefined && input !== "from" && stages.has(stage);
      if (differs)
        problems.push(
          `${TITLES[name]} was made from another ${stage} than the one on this page: ${short(digest)}, recorded as its input "${input}"`,
        );
      return { input, stage, digest, to: to === name ? undefined : to, differs };
    });
    return { name, artifact, links };
  });
  const networks = new Set(
    (["reference", "features"] as const).flatMap((name) => artifacts.get(name)?.manifest.facts["networkDigest"] ?? []),
  );
  if (networks.size > 1)
    problems.push("The features of the data and those of the samples come from different networks");
  const confirmed = nodes.reduce((sum, { links }) => sum + links.filter(({ to }) => to !== undefined).length, 0);
  return { nodes: consumersFirst(nodes), confirmed, problems };
}

/** How a digest is shortened in text. */
export function short(digest: Digest): string {
  return digest.slice(0, 12);
}

/** Latest first, each before what it was made from. A record that claims a circle is followed once around. */
function consumersFirst(nodes: readonly LineageNode[]): LineageNode[] {
  const byName = new Map(nodes.map((node) => [node.name, node]));
  const [seen, made] = [new Set<StageName>(), [] as LineageNode[]];
  const visit = (node: LineageNode): void => {
    if (seen.has(node.name)) return;
    seen.add(node.name);
    for (const { to } of node.links) {
      const input = to && byName.get(to);
      if (input) visit(input);
    }
    made.push(node); // after its inputs
  };
  nodes.forEach(visit);
  return made.reverse();
}

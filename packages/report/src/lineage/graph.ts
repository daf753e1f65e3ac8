import { curveBumpY, line } from "d3-shape";
import { html, type Html } from "../html/html.js";
import { TITLES, type StageName } from "../inputs.js";
import { layeredLayout, type Via } from "./layout.js";
import { short, type Lineage } from "./lineage.js";

/** Sizes of a box, and from one layer to the next, pixels. */
const BOX = { width: 114, height: 42, layer: 76 };
const PAD = 4;

/** Where the score comes from, as a drawing: each box leads to its stage below. */
export function lineageGraph({ nodes }: Lineage): Html {
  const digests = new Map(nodes.map(({ name, artifact }) => [name, short(artifact.digest)]));
  const links = nodes.flatMap(({ name, links }) => links.flatMap(({ to }) => (to ? [[name, to] as const] : [])));
  const layout = layeredLayout<StageName>([...digests.keys()], links, { node: BOX.width, pass: 4, gap: 12 });
  const width = layout.width + 2 * PAD;
  const height = (layout.layers - 1) * BOX.layer + BOX.height + 2 * PAD;
  return html`<svg
    class="graph"
    viewBox="0 0 ${width} ${height}"
    width="${width}"
    height="${height}"
    role="group"
    aria-label="Which stage was made from which: ${nodes.map(({ name }) => TITLES[name]).join(", ")}"
  >
    <g class="edges" aria-hidden="true">${layout.edges.map((edge) => html`<path d="${edgePath(edge)}" />`)}</g>
    ${[...layout.nodes].map(([name, [x, layer]]) => {
      const [left, top] = [PAD + x - BOX.width / 2, PAD + layer * BOX.layer];
      return html`<a href="#stage-${name}" class="node ${name === "score" && "main"}">
        <rect x="${left}" y="${top}" width="${BOX.width}" height="${BOX.height}" rx="6" />
        <text x="${PAD + x}" y="${top + 18}" text-anchor="middle">${LABELS[name]}</text>
        <text x="${PAD + x}" y="${top + 33}" text-anchor="middle" class="mono">${digests.get(name)}</text>
      </a>`;
    })}
  </svg>`;
}

/** From the lower side of the upper box to the upper side of the lower one, straight past the boxes between. */
function edgePath(edge: readonly Via[]): string | null {
  const points = edge.flatMap(([x, layer], i): [number, number][] => {
    const top = PAD + layer * BOX.layer;
    const upper: [number, number] = [PAD + x, top];
    const lower: [number, number] = [PAD + x, top + BOX.height];
    return i === 0 ? [lower] : i === edge.length - 1 ? [upper] : [upper, lower];
  });
  return line<readonly [number, number]>().curve(curveBumpY)(points);
}

/** Titles that fit a box. */
const LABELS: Readonly<Record<StageName, string>> = {
  ...TITLES,
  reference: "Features: data",
  features: "Features: samples",
};

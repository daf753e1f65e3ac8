import { curveBumpY, line } from "d3-shape";
import { html, type Html } from "../html/html.js";
import { TITLES, type StageName } from "../inputs.js";
import { layeredLayout, type Place } from "./layout.js";
import { short, type Lineage } from "./lineage.js";

const NODE = { width: 106, height: 42, layer: 78 };
const PAD = 4;

/** Where the score comes from, as a drawing: each box leads to its stage below. */
export function lineageGraph({ nodes }: Lineage): Html {
  const names = nodes.map(({ name }) => name);
  const digests = new Map(nodes.map(({ name, artifact }) => [name, short(artifact.digest)]));
  const edges = nodes.flatMap(({ name, links }) => links.flatMap(({ to }) => (to ? [[name, to] as const] : [])));
  const layout = layeredLayout<StageName>(names, edges, { node: NODE.width, pass: 14, gap: 12 });
  const width = layout.width + 2 * PAD;
  const height = (layout.layers - 1) * NODE.layer + NODE.height + 2 * PAD;
  const top = (place: Place<StageName>): number => PAD + place.layer * NODE.layer;
  const curve = line<readonly [number, number]>().curve(curveBumpY);
  const path = (places: readonly Place<StageName>[]): string | null =>
    curve(
      places.flatMap((place, i): [number, number][] => {
        const [x, y] = [round(PAD + place.x), top(place)];
        if (i === 0) return [[x, y + NODE.height]];
        return i === places.length - 1
          ? [[x, y - 1]]
          : [
              [x, y],
              [x, y + NODE.height],
            ];
      }),
    );
  return html`<svg
    class="graph"
    viewBox="0 0 ${round(width)} ${round(height)}"
    width="${round(width)}"
    height="${round(height)}"
    role="group"
    aria-label="Which stage was made from which: ${nodes.map(({ name }) => TITLES[name]).join(", ")}"
  >
    <g class="edges" aria-hidden="true">${layout.edges.map((places) => html`<path d="${path(places)}" />`)}</g>
    ${layout.places.map(
      (place) =>
        place.name &&
        html`<a href="#stage-${place.name}" class="node ${place.name === "score" && "main"}">
          <rect
            x="${round(PAD + place.x - NODE.width / 2)}"
            y="${top(place)}"
            width="${NODE.width}"
            height="${NODE.height}"
            rx="6"
          />
          <text x="${round(PAD + place.x)}" y="${top(place) + 18}" text-anchor="middle">${LABELS[place.name]}</text>
          <text x="${round(PAD + place.x)}" y="${top(place) + 33}" text-anchor="middle" class="mono">
            ${digests.get(place.name)}
          </text>
        </a>`,
    )}
  </svg>`;
}

/** Titles that fit a box. */
const LABELS: Readonly<Record<StageName, string>> = {
  ...TITLES,
  reference: "Features: data",
  features: "Features: samples",
};

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

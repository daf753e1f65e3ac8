import { layeredLayout } from "./layout.js";

const SIZE = { node: 100, pass: 4, gap: 10 };
/** The graph of a whole run. */
const NAMES = ["score", "features", "reference", "net", "sample", "train", "latents", "vae", "shards"];
const EDGES = [
  ["score", "reference"],
  ["score", "features"],
  ["features", "sample"],
  ["features", "net"],
  ["reference", "shards"],
  ["reference", "net"],
  ["net", "shards"],
  ["sample", "train"],
  ["train", "latents"],
  ["latents", "shards"],
  ["latents", "vae"],
  ["vae", "shards"],
] as const;

describe("layeredLayout()", () => {
  const { nodes, edges, layers, width } = layeredLayout<string>(NAMES, EDGES, SIZE);

  test("puts everything above what it was made from, the longest way straight down the left side", () => {
    for (const [from, to] of EDGES) expect(nodes.get(from)?.[1]).toBeLessThan(nodes.get(to)?.[1] ?? -1);
    const spine = ["score", "features", "sample", "train", "latents", "vae", "shards"];
    expect(spine.map((name) => nodes.get(name))).toEqual(spine.map((_, layer) => [50, layer]));
    expect(layers).toBe(7);
  });

  test("lets nothing overlap: neither nodes nor edges that pass them", () => {
    const spans = [
      ...[...nodes.values()].map(([x, layer]) => ({ layer, from: x - 50, to: x + 50 })),
      ...edges.flatMap((edge) => edge.slice(1, -1).map(([x, layer]) => ({ layer, from: x - 2, to: x + 2 }))),
    ];
    for (const a of spans) {
      expect(a.from >= 0 && a.to <= width).toBe(true);
      for (const b of spans) if (a !== b && a.layer === b.layer) expect(a.to <= b.from || b.to <= a.from).toBe(true);
    }
    expect(width).toBe(Math.max(...spans.map(({ to }) => to)));
  });

  test("leads each edge through every layer between its ends, straight", () => {
    expect(edges).toHaveLength(EDGES.length);
    for (const edge of edges) {
      expect(edge.map(([, layer]) => layer)).toEqual(edge.map((_, i) => (edge[0]?.[1] ?? 0) + i));
      expect(new Set(edge.slice(1, -1).map(([x]) => x)).size).toBeLessThanOrEqual(1);
    }
  });

  test("leaves out edges that lead up, back to themselves, or to nowhere", () => {
    const bad = [
      ["b", "a"],
      ["a", "a"],
      ["a", "c"],
    ] as const;
    expect(layeredLayout<string>(["a", "b"], bad, SIZE)).toMatchObject({ edges: [], layers: 1, width: 210 });
  });
});

/** A node of a layered drawing. Without a name it is a place where a long edge passes a layer. */
export interface Place<N> {
  readonly name: N | undefined;
  readonly layer: number;
  readonly x: number;
  readonly width: number;
}

/** A layered drawing: what was made stands above what it was made from. */
export interface Layout<N> {
  readonly places: readonly Place<N>[];
  /** The places an edge passes, from its upper to its lower end. */
  readonly edges: readonly (readonly Place<N>[])[];
  readonly layers: number;
  readonly width: number;
}

interface Slot<N> {
  readonly name: N | undefined;
  readonly layer: number;
  readonly above: Slot<N>[];
  readonly below: Slot<N>[];
}

/**
 * Layers by the longest way from the top, and an order within layers that crosses few edges (each node moves to the mean
 * position of its neighbours, some rounds down and up; of all rounds the best is kept).
 *
 * Source: Sugiyama, Tagawa & Toda 1981, IEEE Trans. SMC 11(2).
 *
 * @param names Upper ends before lower ends; edges the other way are left out.
 * @param size Widths of a node and of an edge that passes, and the gap between two of them.
 */
export function layeredLayout<N>(
  names: readonly N[],
  edges: readonly (readonly [from: N, to: N])[],
  size: { readonly node: number; readonly pass: number; readonly gap: number },
): Layout<N> {
  const order = new Map(names.map((name, i) => [name, i]));
  const down = edges.filter(([from, to]) => (order.get(from) ?? Infinity) < (order.get(to) ?? -1));
  const layerOf = new Map(names.map((name) => [name, 0]));
  for (const name of names)
    for (const [from, to] of down)
      if (from === name) layerOf.set(to, Math.max(layerOf.get(to) ?? 0, (layerOf.get(name) ?? 0) + 1));

  const slots = new Map(names.map((name) => [name, slot<N>(name, layerOf.get(name) ?? 0)]));
  const layers: Slot<N>[][] = Array.from({ length: Math.max(0, ...layerOf.values()) + 1 }, () => []);
  for (const each of slots.values()) layers[each.layer]?.push(each);
  const chains = down.flatMap(([from, to]) => {
    const [top, bottom] = [slots.get(from), slots.get(to)];
    if (!top || !bottom) return [];
    const chain = [top];
    for (let layer = top.layer + 1; layer < bottom.layer; layer++) {
      const pass = slot<N>(undefined, layer);
      layers[layer]?.push(pass);
      chain.push(pass);
    }
    chain.push(bottom);
    chain.slice(1).forEach((lower, i) => {
      lower.above.push(chain[i] as Slot<N>);
      chain[i]?.below.push(lower);
    });
    return [chain];
  });

  const widthOf = (each: Slot<N>): number => (each.name === undefined ? size.pass : size.node);
  const rowWidth = (row: readonly Slot<N>[]): number =>
    row.reduce((sum, each) => sum + widthOf(each) + size.gap, -size.gap);
  const best = fewestCrossings(layers);
  const width = Math.max(...best.map(rowWidth));
  const places = new Map<Slot<N>, Place<N>>();
  for (const row of best) {
    let x = (width - rowWidth(row)) / 2;
    for (const each of row) {
      places.set(each, { name: each.name, layer: each.layer, x: x + widthOf(each) / 2, width: widthOf(each) });
      x += widthOf(each) + size.gap;
    }
  }
  return {
    places: [...places.values()],
    edges: chains.map((chain) => chain.map((each) => places.get(each) as Place<N>)),
    layers: layers.length,
    width,
  };
}

function slot<N>(name: N | undefined, layer: number): Slot<N> {
  return { name, layer, above: [], below: [] };
}

const ROUNDS = 12;

function fewestCrossings<N>(layers: readonly Slot<N>[][]): Slot<N>[][] {
  let rows = layers.map((row) => [...row]);
  let [best, fewest] = [rows, crossings(rows)];
  for (let round = 0; round < ROUNDS && fewest > 0; round++) {
    const downward = round % 2 === 0;
    const next = rows.map((row) => [...row]);
    const indices = downward ? next.keys() : [...next.keys()].reverse();
    for (const i of indices) {
      const position = new Map((next[downward ? i - 1 : i + 1] ?? []).map((each, at) => [each, at]));
      const row = next[i] as Slot<N>[];
      const key = new Map(row.map((each, at) => [each, mean(each, downward, position) ?? at]));
      row.sort((a, b) => (key.get(a) ?? 0) - (key.get(b) ?? 0));
    }
    rows = next;
    const now = crossings(rows);
    if (now < fewest) [best, fewest] = [rows, now];
  }
  return best;
}

function mean<N>(each: Slot<N>, downward: boolean, position: ReadonlyMap<Slot<N>, number>): number | undefined {
  const neighbours = (downward ? each.above : each.below).flatMap((other) => position.get(other) ?? []);
  return neighbours.length === 0 ? undefined : neighbours.reduce((a, b) => a + b, 0) / neighbours.length;
}

/** Pairs of edges between neighbouring layers that cross. */
export function crossings<N>(rows: readonly (readonly Slot<N>[])[]): number {
  let total = 0;
  rows.forEach((row, i) => {
    const position = new Map((rows[i + 1] ?? []).map((each, at) => [each, at]));
    const ends = row.flatMap((each, at) => each.below.map((lower) => [at, position.get(lower) ?? 0] as const));
    for (const [a, b] of ends) for (const [c, d] of ends) if (a < c && b > d) total++;
  });
  return total;
}

/** A point that an edge passes, in the drawing's units. */
export type Via = readonly [x: number, layer: number];

/** A drawing in layers: what was made stands above what it was made from. */
export interface Layout<N> {
  /** Middle and layer of each node. */
  readonly nodes: ReadonlyMap<N, Via>;
  /** Each from its upper to its lower end, through the layers between. */
  readonly edges: readonly (readonly Via[])[];
  readonly layers: number;
  readonly width: number;
}

/** Widths of a node and of an edge that passes one, and the gap between two of them. */
export interface LayoutSize {
  readonly node: number;
  readonly pass: number;
  readonly gap: number;
}

/**
 * Lays out a small graph so that its story can be read: the longest way from the top runs straight down the left side,
 * other nodes stand to its right, and an edge that passes layers runs straight down to the right of all it passes.
 *
 * @param names Upper ends before lower ends; edges the other way are left out.
 */
export function layeredLayout<N>(
  names: readonly N[],
  edges: readonly (readonly [from: N, to: N])[],
  size: LayoutSize,
): Layout<N> {
  const order = new Map(names.map((name, i) => [name, i]));
  const down = edges.filter(([from, to]) => (order.get(from) ?? Infinity) < (order.get(to) ?? -1));
  const below = (name: N): N[] => down.flatMap(([from, to]) => (from === name ? [to] : []));
  const layers = new Map(names.map((name) => [name, 0]));
  for (const name of names)
    for (const to of below(name)) layers.set(to, Math.max(layers.get(to) ?? 0, (layers.get(name) ?? 0) + 1));
  const layerOf = (name: N): number => layers.get(name) ?? 0;

  /** Where the free part of each layer begins. */
  const free = new Array<number>(Math.max(0, ...layers.values()) + 1).fill(0);
  const nodes = new Map<N, Via>();
  const place = (name: N): void => {
    const layer = layerOf(name);
    const x = (free[layer] ?? 0) + size.node / 2;
    nodes.set(name, [x, layer]);
    free[layer] = x + size.node / 2 + size.gap;
  };
  const spine = longestWay(names, below);
  for (const name of [...spine, ...names.filter((each) => !spine.includes(each))]) place(name);

  const span = ([from, to]: readonly [N, N]): number => layerOf(to) - layerOf(from);
  const drawn = down
    .toSorted((a, b) => span(a) - span(b))
    .map(([from, to]): Via[] => {
      const [top, bottom] = [nodes.get(from) as Via, nodes.get(to) as Via];
      const passed = Array.from({ length: bottom[1] - top[1] - 1 }, (_, i) => top[1] + 1 + i);
      const x = Math.max(top[0], ...passed.map((layer) => (free[layer] ?? 0) + size.pass / 2));
      for (const layer of passed) free[layer] = x + size.pass / 2 + size.gap;
      return [top, ...passed.map((layer): Via => [x, layer]), bottom];
    });
  return { nodes, edges: drawn, layers: free.length, width: Math.max(...free) - size.gap };
}

/** The longest way down from the first name: of equally long ones that through the earlier names. */
function longestWay<N>(names: readonly N[], below: (name: N) => readonly N[]): N[] {
  const ways = new Map<N, readonly N[]>();
  for (const name of names.toReversed()) {
    const rest = below(name).map((next) => ways.get(next) ?? []);
    const longest = rest.reduce<readonly N[]>((best, way) => (way.length > best.length ? way : best), []);
    ways.set(name, [name, ...longest]);
  }
  const [first] = names;
  return first === undefined ? [] : [...(ways.get(first) ?? [])];
}

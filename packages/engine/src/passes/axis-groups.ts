import { sizeOf, type Shape } from "../ir/graph.js";

/**
 * Axes `from[start..end)` of one shape hold the same elements, in the same order, as axes `to[start..end)` of another.
 */
export interface AxisGroup {
  readonly from: readonly [start: number, end: number];
  readonly to: readonly [start: number, end: number];
}

/**
 * The smallest groups of neighboring axes that a reshape maps onto each other: for (6, 4, 5) -> (2, 3, 20) they are
 * 6 -> 2·3 and 4·5 -> 20. Axes of size 1 that belong to nothing make groups with no axis on the other side.
 *
 * @returns Nothing if the tensor is empty: then anything corresponds to anything.
 */
export function groupAxes(from: Shape, to: Shape): readonly AxisGroup[] | undefined {
  if (sizeOf(from) === 0) return undefined;
  const groups: AxisGroup[] = [];
  let [i, j] = [0, 0];
  while (i < from.length || j < to.length) {
    const [start, other] = [i, j];
    if (from[i] === 1 && to[j] !== 1) i++;
    else if (to[j] === 1 && from[i] !== 1) j++;
    else {
      let [left, right] = [from[i++]!, to[j++]!];
      while (left !== right)
        if (left < right) left *= from[i++]!;
        else right *= to[j++]!;
    }
    groups.push({ from: [start, i], to: [other, j] });
  }
  return groups;
}

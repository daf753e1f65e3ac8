import { groupAxes } from "./axis-groups.js";

/** Groups as sizes: `[[6], [2, 3]]` says that an axis of 6 became two. */
function groups(from: readonly number[], to: readonly number[]) {
  return groupAxes(from, to)?.map((group) => [from.slice(...group.from), to.slice(...group.to)]);
}

describe("groupAxes()", () => {
  test("pairs axes that stay as they are", () => {
    expect(groups([2, 3], [2, 3])).toEqual([
      [[2], [2]],
      [[3], [3]],
    ]);
  });

  test("finds the smallest groups of split and merged axes", () => {
    expect(groups([6, 4, 5], [2, 3, 20])).toEqual([
      [[6], [2, 3]],
      [[4, 5], [20]],
    ]);
    expect(groups([4, 3], [3, 4])).toEqual([
      [
        [4, 3],
        [3, 4],
      ],
    ]);
  });

  test("keeps axes of size 1 apart", () => {
    expect(groups([1, 2, 3], [2, 1, 3, 1])).toEqual([
      [[1], []],
      [[2], [2]],
      [[], [1]],
      [[3], [3]],
      [[], [1]],
    ]);
    expect(groups([], [1])).toEqual([[[], [1]]]);
  });

  test("says nothing about empty tensors", () => {
    expect(groups([0, 3], [3, 0])).toBeUndefined();
  });
});

import { NumpyRandom } from "./numpy-random.js";

// Made with numpy 2: r = np.random.RandomState(seed); r.permutation(10); r.choice(1000, 5, replace=False);
// r.permutation(5).
test.each([
  [0, [2, 8, 4, 9, 1, 6, 7, 3, 0, 5], [722, 311, 85, 436, 204], [1, 2, 4, 3, 0]],
  [2020, [2, 4, 9, 1, 5, 7, 6, 3, 8, 0], [358, 763, 430, 530, 677], [1, 3, 2, 4, 0]],
  [2 ** 32 - 1, [6, 9, 5, 1, 8, 0, 7, 4, 2, 3], [222, 28, 514, 425, 23], [4, 0, 2, 1, 3]],
])("NumpyRandom(%d) is numpy's", (seed, first, some, last) => {
  const random = new NumpyRandom(seed);
  expect([...random.permutation(10)]).toEqual(first);
  expect([...random.choice(1000, 5)]).toEqual(some); // more than 624 words: the state is made anew
  expect([...random.permutation(5)]).toEqual(last);
});

/**
 * Applies `make` to items, up to `atOnce` at the same time, and yields the results in the items' order. No more than
 * `atOnce` items are taken before their results are. Ending early, or an error, waits for what is under way and closes
 * the source.
 *
 * @throws What the source or `make` throws; the first in order.
 */
export async function* mapOrdered<T, R>(
  items: AsyncIterable<T>,
  atOnce: number,
  make: (item: T) => Promise<R>,
): AsyncGenerator<R, void, undefined> {
  const underWay: Promise<R>[] = [];
  try {
    for await (const item of items) {
      const result = make(item);
      result.catch(() => undefined); // it is thrown when its turn comes
      underWay.push(result);
      if (underWay.length >= atOnce) yield await underWay.shift()!;
    }
    while (underWay.length > 0) yield await underWay.shift()!;
  } finally {
    await Promise.allSettled(underWay);
  }
}

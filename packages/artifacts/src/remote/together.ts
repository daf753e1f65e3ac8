/**
 * Does something with each item, so many at a time. The first failure ends it: nothing is begun any more, and what is
 * under way is waited for.
 */
export async function together<T>(items: Iterable<T>, most: number, work: (item: T) => Promise<void>): Promise<void> {
  const queue = items[Symbol.iterator]();
  let failed: { readonly cause: unknown } | undefined;
  const worker = async (): Promise<void> => {
    for (let next = queue.next(); !next.done && failed === undefined; next = queue.next())
      try {
        await work(next.value);
      } catch (cause) {
        failed ??= { cause };
      }
  };
  await Promise.all(Array.from({ length: most }, worker));
  if (failed !== undefined) throw failed.cause;
}

/**
 * Python's `collections.OrderedDict`: what PyTorch's state dicts are. `attributes` are those it was given, `_metadata`
 * above all.
 */
export class OrderedDict<K = unknown, V = unknown> extends Map<K, V> {
  attributes: ReadonlyMap<string, unknown> | undefined;
}

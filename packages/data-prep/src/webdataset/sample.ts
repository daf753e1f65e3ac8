/** What belongs together in a WebDataset: the files of a tar that share a name up to its first dot. */
export interface WebDatasetSample {
  /** The shared name: `"00000017"`, or `"cats/17"` where files lie in folders. Only a name: never opened as a path. */
  readonly key: string;
  /** Content by extension without its first dot, such as `webp`, `cls`, `json`, in the order of the tar. */
  readonly files: ReadonlyMap<string, Uint8Array>;
  /** Extensions of all its files in the tar, those that were not kept included; a writer does without. */
  readonly seen?: ReadonlySet<string>;
}

/** Name of shard number `index`: `"00017.tar"`. */
export function shardName(index: number): string {
  return `${String(index).padStart(5, "0")}.tar`;
}

/** How often elements of tensors went between arrays of the host and an engine's memory, in this process. */
export interface HostCopies {
  readonly count: number;
  readonly bytes: number;
}

let copies: HostCopies = { count: 0, bytes: 0 };

/**
 * What was copied so far: what a loop that uses handles should not add to. Arrays that are bound where they lie are no
 * copies.
 */
export function hostCopies(): HostCopies {
  return copies;
}

/** Counts one copy: each backend tells of all of its own. */
export function countHostCopy(bytes: number): void {
  copies = { count: copies.count + 1, bytes: copies.bytes + bytes };
}

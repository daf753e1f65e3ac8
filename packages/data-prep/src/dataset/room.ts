import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { requireRoom } from "@madformer/artifacts";

/**
 * Refuses a data set that the disk has no room for before the first byte of it comes. What an earlier attempt left
 * counts as there.
 *
 * @param name What messages call it.
 * @param sizes What is to come, bytes; nothing where that is not known.
 * @throws {Error} If there is no room: how much is needed, and how much there is.
 */
export async function requireRoomFor(name: string, sizes: readonly (number | undefined)[], out: string): Promise<void> {
  const needed = sizes.reduce<number>((sum, size) => sum + (size ?? 0), 0);
  try {
    await requireRoom(out, needed - (await bytesBelow(out)));
  } catch (cause) {
    throw new Error(`Cannot use ${name}: ${(cause as Error).message}`, { cause });
  }
}

async function bytesBelow(folder: string): Promise<number> {
  let bytes = 0;
  for (const path of await readdir(folder, { recursive: true })) {
    const status = await stat(join(folder, path));
    if (status.isFile()) bytes += status.size;
  }
  return bytes;
}

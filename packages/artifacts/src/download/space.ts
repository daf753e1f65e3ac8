import { statfs } from "node:fs/promises";
import { NETWORK_LIMITS, type NetworkLimits } from "./limits.js";

/**
 * How many bytes can be written where a folder lies, so that what is to stay free stays free.
 *
 * @returns Infinity, where the file system does not say.
 */
export async function roomIn(folder: string, { keepFreeBytes }: Pick<NetworkLimits, "keepFreeBytes">): Promise<number> {
  const status = await statfs(folder).catch(() => undefined);
  if (status === undefined || status.blocks === 0) return Infinity;
  return Math.max(0, status.bavail * status.bsize - keepFreeBytes);
}

/**
 * @param bytes What is to be written.
 * @throws {Error} If the disk that a folder lies on has no room for it: how much is needed, and how much there is.
 */
export async function requireRoom(
  folder: string,
  bytes: number,
  limits: Pick<NetworkLimits, "keepFreeBytes"> = NETWORK_LIMITS,
): Promise<void> {
  const room = bytes > 0 ? await roomIn(folder, limits) : Infinity;
  if (bytes <= room) return;
  throw new Error(`it needs ${bytes} bytes, and ${JSON.stringify(folder)} has room for ${room}`);
}

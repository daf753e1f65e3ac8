import { Remote, remotePlace, SETTINGS_FILE, type RemotePlace, type Store } from "@madformer/artifacts";
import { ConfigError } from "@madformer/stage";
import type { Io } from "../program.js";

/**
 * The remote store of a workspace.
 *
 * @throws {ConfigError} If none is named.
 */
export async function requirePlace(root: string): Promise<RemotePlace> {
  const place = await remotePlace(root);
  if (place) return place;
  throw new ConfigError(
    `There is no remote store: name one in MADFORMER_REMOTE, or as "remote" in ${SETTINGS_FILE}, such as s3://bucket/prefix`,
  );
}

export async function requireRemote(root: string, store: Store, io: Io): Promise<Remote> {
  return Remote.open(await requirePlace(root), store, { onNotice: (message) => io.err(`${message}\n`) });
}

/**
 * - `unreachable`: no answer came, or none in time.
 * - `refused`: the server answers and does not do it: no credentials, no such bucket, trouble of its own that does not
 *   pass.
 * - `missing`: what was asked for is not there.
 * - `damaged`: what came is not what its name says.
 * - `local`: this machine cannot write or read its own files.
 */
export type RemoteProblem = "unreachable" | "refused" | "missing" | "damaged" | "local";

/** Something the remote store could not do. The message names the object and the endpoint. */
export class RemoteError extends Error {
  override readonly name = "RemoteError";

  constructor(
    message: string,
    readonly problem: RemoteProblem,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

import { DataError } from "../data-error.js";

/** A request that failed in a way that may pass: the next one goes on where it ended. */
export class Interrupted extends Error {
  override readonly name = "Interrupted";

  constructor(
    message: string,
    /** What the server asks to wait, if it does. */
    readonly waitMs = 0,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** Runs a step of the network's; its failures may pass, except for those that were found in what came. */
export async function passing<T>(step: () => Promise<T>): Promise<T> {
  try {
    return await step();
  } catch (cause) {
    if (cause instanceof Interrupted || cause instanceof DataError) throw cause;
    throw new Interrupted(reasonOfNetwork(cause), 0, { cause });
  }
}

/** undici says "fetch failed" and hides why one cause deeper. */
function reasonOfNetwork(error: unknown): string {
  const { code, message } = ((error as Error).cause ?? error) as NodeJS.ErrnoException;
  if (code === "ECONNREFUSED") return "the connection was refused";
  if (code === "ECONNRESET" || code === "UND_ERR_SOCKET") return "the connection was cut";
  if (code === "ENOTFOUND") return "there is no such host";
  return message;
}

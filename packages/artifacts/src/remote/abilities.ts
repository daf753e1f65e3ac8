import { randomBytes } from "node:crypto";
import { sha256 } from "../store/manifest.js";
import { statusOf, type Connection } from "./connection.js";
import type { Abilities } from "./known.js";
import { LAYOUT } from "./place.js";

/**
 * Tries what a server can do, by two requests about a name that nobody else has: whether a second write under it is
 * refused when it is asked to be (some stores ignore the condition and answer that all is well), and whether bytes are
 * that do not fit the SHA-256 that the request names.
 *
 * @throws {RemoteError} If nothing can be written there.
 */
export async function tryAbilities(connection: Connection): Promise<Abilities> {
  const path = `${LAYOUT.probes}${randomBytes(8).toString("hex")}`;
  const bytes = Buffer.from("one");
  await connection.write(path, bytes, true);
  try {
    const once = !(await connection.write(path, bytes, true));
    return { once, compares: await compares(connection, path) };
  } finally {
    await connection.remove([path]).catch(() => undefined); // who may not remove leaves three bytes
  }
}

async function compares(connection: Connection, path: string): Promise<boolean> {
  const { PutObjectCommand } = await import("@aws-sdk/client-s3");
  const other = sha256("two");
  let refused = false;
  await connection.attempt("write", path, false, async ({ client, at, signal }) => {
    const command = new PutObjectCommand({ ...at, Body: Buffer.from("one"), ContentLength: 3 });
    command.middlewareStack.add(
      (next) => (args) => {
        (args.request as { headers: Record<string, string> }).headers["x-amz-content-sha256"] = other;
        return next(args);
      },
      { step: "build", name: "digest" },
    );
    try {
      await client.send(command, { abortSignal: signal });
    } catch (error) {
      if (statusOf(error) !== 400) throw error;
      refused = true;
    }
  });
  return refused;
}

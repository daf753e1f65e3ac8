import { createHash, timingSafeEqual } from "node:crypto";

/** What somebody may do. */
export type Access = "none" | "read" | "read-write";

/** Whoever guesses a thousand times a second needs longer than the world has existed. */
export const LEAST_TOKEN_CHARACTERS = 16;

/** Who may do what, by what they bring. */
export class Tokens {
  private readonly digests: readonly (readonly [Access, Buffer])[];

  /**
   * @param read Of who may read; undefined if nobody has it.
   * @param write Of who may read and write; undefined if nobody has it.
   * @throws {Error} If there is none, one is short or cannot stand in a header, or they are equal: then whoever was
   *   given the one to read could write.
   */
  constructor(read: string | undefined, write: string | undefined) {
    if (read === undefined && write === undefined) throw new Error("Cannot start: there is no token");
    for (const [name, token] of [
      ["read", read],
      ["write", write],
    ] as const) {
      if (token === undefined) continue;
      if (token.length < LEAST_TOKEN_CHARACTERS)
        throw new Error(
          `Cannot use the ${name} token: it has ${token.length} characters, expected ${LEAST_TOKEN_CHARACTERS} at least`,
        );
      if (!/^[!-~]+$/.test(token))
        throw new Error(`Cannot use the ${name} token: expected printable ASCII characters without spaces`);
    }
    if (read === write) throw new Error("Cannot start: the read token and the write token are equal");
    this.digests = [
      ...(read === undefined ? [] : [["read", digest(read)] as const]),
      ...(write === undefined ? [] : [["read-write", digest(write)] as const]),
    ];
  }

  /** @param header `Authorization`, as it came. */
  accessOf(header: string | undefined): Access {
    const presented = digest(/^Bearer +(.+)$/i.exec(header ?? "")?.[1] ?? "");
    let access: Access = "none";
    // All are looked at, each in a time that does not depend on what was presented.
    for (const [level, expected] of this.digests) if (timingSafeEqual(presented, expected)) access = level;
    return access;
  }
}

const digest = (text: string): Buffer => createHash("sha256").update(text).digest();

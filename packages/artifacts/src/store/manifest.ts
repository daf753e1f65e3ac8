import { createHash } from "node:crypto";
import { z } from "zod";

/** SHA-256 of some bytes, 64 lower-case hex digits. */
export type Digest = string;

/** A digest as files hold it; it becomes part of paths. */
export const DigestText = z.string().regex(/^[0-9a-f]{64}$/, "expected 64 hex digits");

/** Whether a part of a path is a plain name: printable, and not a way out of its folder. */
function isName(part: string): boolean {
  return !["", ".", ".."].includes(part) && [...part].every((character) => character >= " " && character !== "\u007f");
}

/**
 * A path inside an artifact: forward slashes, no empty, "." or ".." part, no backslash, no drive, no control character.
 */
export const FilePath = z
  .string()
  .min(1)
  .max(512)
  .refine((path) => !path.includes("\\") && !path.includes(":") && path.split("/").every(isName), {
    error: "expected a relative path with forward slashes that stays inside its folder",
  });

/**
 * What a stage made: its files by digest, and the facts that later stages and people want to know. A manifest depends
 * on content alone (no time, no machine, no code), so equal output is an equal manifest.
 */
export const Manifest = z
  .strictObject({
    format: z.literal(1),
    stage: z.string().describe("The stage that made it, such as shards"),
    facts: z.record(z.string(), z.json()).describe("Counts, sizes, scores: small, and functions of the content"),
    files: z.record(FilePath, z.strictObject({ sha256: DigestText, bytes: z.int().nonnegative() })),
  })
  .readonly();
export type Manifest = z.infer<typeof Manifest>;

/** The one text of a manifest: keys sorted, two spaces, a final newline. */
export function manifestText(manifest: Manifest): string {
  return prettyJson(manifest);
}

/** SHA-256 of the manifest's text: the identity of an artifact. */
export function manifestDigest(manifest: Manifest): Digest {
  return sha256(manifestText(manifest));
}

/** SHA-256 of a text (as UTF-8) or of bytes, in hex. */
export function sha256(data: string | Uint8Array): Digest {
  return createHash("sha256").update(data).digest("hex");
}

/** JSON with sorted keys and no spaces: equal values, equal text. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(sorted(value));
}

/** The same for people: keys sorted, two spaces, a final newline. */
export function prettyJson(value: unknown): string {
  return `${JSON.stringify(sorted(value), null, 2)}\n`;
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (value === null || typeof value !== "object") return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  return Object.fromEntries(entries.map(([key, item]) => [key, sorted(item)]));
}

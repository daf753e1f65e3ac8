/** What is believed in a remote store: the text of a key, and of the record that it means. */
import { z } from "zod";
import { canonicalJson, DigestText, Manifest, sha256, type Digest } from "../store/manifest.js";
import { StageRecord } from "../store/record.js";
import { isConsistent, type Made, type ObjectRef } from "../store/store.js";
import type { Connection } from "./connection.js";
import { LAYOUT } from "./place.js";
import { RemoteError } from "./remote-error.js";

const KeyText = z.strictObject({ format: z.literal(1), key: DigestText, record: DigestText });
const MadeText = z.strictObject({ manifest: Manifest, record: StageRecord });

const OURS = "it is damaged, or none of ours";

export const MAX_KEY_BYTES = 2 ** 12;
/** A manifest of a million files takes 150 MB. */
const MAX_RECORD_BYTES = 2 ** 28;

/** What belongs to something that was made, and whether it may be lost. */
export function objectsOf({ manifest, record }: Made): { readonly ref: ObjectRef; readonly mayLack: boolean }[] {
  const files = new Map(Object.values(manifest.files).map((ref) => [ref.sha256, ref]));
  const logs = Object.values(record.logs).filter(({ sha256 }) => !files.has(sha256));
  return [
    ...[...files.values()].map((ref) => ({ ref, mayLack: false })),
    ...[...new Map(logs.map((ref) => [ref.sha256, ref])).values()].map((ref) => ({ ref, mayLack: true })),
  ];
}

/**
 * What a stage with this key made, if the remote store knows: manifest and record. Its objects may be missing.
 *
 * @throws {RemoteError} If it cannot be asked, or what it says is damaged.
 */
export async function findMade(connection: Connection, key: Digest): Promise<Made | undefined> {
  const place = await recordOf(connection, key);
  if (place === undefined) return undefined;
  const made = await readRecord(connection, place);
  if (made?.record.key === key) return made;
  throw broken(
    connection,
    made === undefined ? LAYOUT.key(key) : place,
    made === undefined ? "its record is not there" : OURS,
  );
}

/** The path of the record that a key means. */
export async function recordOf(connection: Connection, key: Digest): Promise<string | undefined> {
  const path = LAYOUT.key(key);
  const bytes = await connection.read(path, MAX_KEY_BYTES);
  if (bytes === undefined) return undefined;
  const named = KeyText.safeParse(jsonOf(bytes)).data;
  if (named?.key !== key) throw broken(connection, path, OURS);
  return LAYOUT.record(named.record);
}

/** Paths of all objects that a record names. */
export async function namedBy(connection: Connection, record: string): Promise<readonly string[]> {
  const made = await readRecord(connection, record);
  if (made === undefined) return [];
  const digests = [made.record.program.sha256, ...objectsOf(made).map(({ ref }) => ref.sha256)];
  return digests.map((digest) => LAYOUT.object(digest));
}

async function readRecord(connection: Connection, path: string): Promise<Made | undefined> {
  const text = await connection.read(path, MAX_RECORD_BYTES);
  if (text === undefined) return undefined;
  const made = MadeText.safeParse(jsonOf(text)).data;
  if (made === undefined || path !== LAYOUT.record(sha256(text)) || !isConsistent(made))
    throw broken(connection, path, OURS);
  return made;
}

function broken(connection: Connection, path: string, what: string): RemoteError {
  return new RemoteError(`Cannot use ${connection.nameOf(path)}: ${what}`, "damaged");
}

/** Record and key as they are written. */
export function textsOf(made: Made) {
  const text = `${canonicalJson({ manifest: made.manifest, record: made.record })}\n`;
  const digest = sha256(text);
  const { key } = made.record;
  const named = `${canonicalJson({ format: 1, key, record: digest })}\n`;
  return {
    record: { path: LAYOUT.record(digest), bytes: Buffer.from(text) },
    key: { path: LAYOUT.key(key), bytes: Buffer.from(named) },
  };
}

/** The key that a path says. */
export const keyIn = (path: string): Digest | undefined => /^trusted\/keys\/([0-9a-f]{64})\.json$/.exec(path)?.[1];

/** The digest that an object's path says. */
export function digestIn(path: string): Digest | undefined {
  const [, folder = "", digest] = /^objects\/([0-9a-f]{2})\/([0-9a-f]{64})$/.exec(path) ?? [];
  return digest?.startsWith(folder) ? digest : undefined;
}

function jsonOf(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString("utf8"));
  } catch {
    return undefined;
  }
}

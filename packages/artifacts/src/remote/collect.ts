import { randomBytes } from "node:crypto";
import type { Digest } from "../store/manifest.js";
import { LAYOUT } from "./place.js";
import { keyIn, namedBy, recordOf } from "./records.js";
import type { Remote } from "./remote.js";
import { readMarks, readState, removeMarks, writeMarks, writeState } from "./state.js";
import { together } from "./together.js";

export interface CollectOptions {
  /** Keys that stay, with all that they name. */
  readonly roots: readonly Digest[];
  /** What was written after this stays. */
  readonly since: Date;
  /** How long what is marked may still be named or written again, before it is removed. */
  readonly waitMs: number;
  /** Only count. */
  readonly dryRun: boolean;
}

interface Counts {
  keys: number;
  records: number;
  objects: number;
  bytes: number;
}

export interface Collected {
  /**
   * - `looked`: nothing was changed.
   * - `marked`: what goes is marked; who pushes it meanwhile keeps it.
   * - `waiting`: it was marked before, not long enough ago.
   * - `removed`: what was marked, and is still named by nothing, is gone.
   */
  readonly phase: "looked" | "marked" | "waiting" | "removed";
  readonly gone: Readonly<Counts>;
  readonly kept: Readonly<Counts>;
  /** When what is marked may be removed. */
  readonly removableAt?: string;
  /** What is not the store's; left alone. */
  readonly strangers: readonly string[];
}

/**
 * Removes from the remote store what nobody asks for, in two runs: the first marks, the second, some time later,
 * removes what is still named by nothing and was not written again. Between them whoever pushes sees the marks, and
 * writes again what is marked; so nothing goes that somebody has just found there.
 *
 * @throws {RemoteError} If a key that stays does not say what it means.
 */
export async function collectRemote(remote: Remote, options: CollectOptions): Promise<Collected> {
  const { connection } = remote;
  const { waitMs, dryRun } = options;
  const plan = await planFor(remote, options);
  const { kept, strangers } = plan;
  const counts = { gone: countsOf(plan.gone), kept, strangers };
  if (dryRun) return { phase: "looked", ...counts };

  let state = await readState(connection);
  let marked = state.phase === "idle" ? undefined : await readMarks(connection, state);
  if (marked === undefined) {
    if (plan.gone.length === 0) return { phase: "removed", ...counts };
    const marks = randomBytes(8).toString("hex");
    marked = new Map(plan.gone.map(({ path, modified }) => [path, modified]));
    await writeMarks(connection, marks, marked);
    state = { ...state, phase: "marked", at: new Date().toISOString(), marks };
    await writeState(connection, state);
    if (waitMs > 0) return { phase: "marked", ...counts, removableAt: removableAt(state.at, waitMs) };
  }
  if (Date.now() < Date.parse(removableAt(state.at, waitMs)))
    return { phase: "waiting", ...counts, removableAt: removableAt(state.at, waitMs) };

  const old = marked;
  await writeState(connection, { ...state, phase: "deleting", at: new Date().toISOString() });
  const { gone } = await planFor(remote, options); // what was named or written since stays
  const going = gone.filter(({ path, modified }) => old.get(path) === modified);
  // Keys first: what is named by nothing is fetched by nobody.
  for (const below of [LAYOUT.keys, LAYOUT.records, LAYOUT.objects])
    await connection.remove(going.flatMap(({ path }) => (path.startsWith(below) ? [path] : [])));
  await removeMarks(connection, state);
  const generation = randomBytes(16).toString("hex");
  await writeState(connection, { format: 1, generation, phase: "idle", at: new Date().toISOString() });
  await (await remote.index()).follow(generation);
  return { phase: "removed", ...counts, gone: countsOf(going) };
}

interface Thing {
  readonly path: string;
  readonly bytes: number;
  readonly modified: string;
}

async function planFor(remote: Remote, { roots, since }: CollectOptions) {
  const { connection } = remote;
  const things: Thing[] = [];
  for (const below of [LAYOUT.objects, "trusted/"])
    for await (const { path, bytes, modified } of connection.list(below))
      things.push({ path, bytes, modified: modified.toISOString() });
  const isYoung = ({ modified }: Thing): boolean => new Date(modified) >= since;
  const rooted = new Set(roots);
  const live = new Set<string>();
  const keys = things.flatMap((thing) => {
    const key = keyIn(thing.path);
    return key !== undefined && (rooted.has(key) || isYoung(thing)) ? [{ key, path: thing.path }] : [];
  });
  await together(keys, connection.limits.together, async ({ key, path }) => {
    live.add(path);
    for (const named of await namesOf(remote, key)) live.add(named);
  });
  const records = things.filter((thing) => isRecord(thing.path) && isYoung(thing) && !live.has(thing.path));
  await together(records, connection.limits.together, async ({ path }) => {
    for (const named of await namedBy(remote.connection, path)) live.add(named); // a push under way has no key
  });
  const kept: Counts = { keys: 0, records: 0, objects: 0, bytes: 0 };
  const [gone, strangers]: [Thing[], string[]] = [[], []];
  for (const thing of things)
    if (thing.path.startsWith("trusted/gc/")) continue;
    else if (!isOurs(thing.path)) strangers.push(thing.path);
    else if (live.has(thing.path) || isYoung(thing)) count(kept, thing);
    else gone.push(thing);
  return { gone, kept, strangers };
}

/** Paths of all that a key names. */
async function namesOf(remote: Remote, key: Digest): Promise<readonly string[]> {
  const record = await recordOf(remote.connection, key);
  if (record === undefined) return []; // it was removed since it was listed
  return [record, ...(await namedBy(remote.connection, record))];
}

const isRecord = (path: string): boolean => /^trusted\/records\/[0-9a-f]{64}\.json$/.test(path);
const isOurs = (path: string): boolean =>
  keyIn(path) !== undefined || isRecord(path) || /^objects\/([0-9a-f]{2}\/[0-9a-f]{64}|probe-[0-9a-f]{16})$/.test(path);

function count(counts: Counts, { path, bytes }: Thing): void {
  if (keyIn(path) !== undefined) counts.keys++;
  else if (isRecord(path)) counts.records++;
  else counts.objects++;
  counts.bytes += bytes;
}

function countsOf(things: readonly Thing[]): Counts {
  const counts: Counts = { keys: 0, records: 0, objects: 0, bytes: 0 };
  for (const thing of things) count(counts, thing);
  return counts;
}

const removableAt = (at: string, waitMs: number): string => new Date(Date.parse(at) + waitMs).toISOString();

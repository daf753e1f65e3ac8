import type { Obstacle } from "./lock-file.js";
import { sharesProcesses, type Holder } from "./lock-holder.js";

/** A holder elsewhere that has been quiet for less than this may only not have had its turn. */
const QUIET_MS = 10_000;

/** How long one has waited when it next says so: 10 s, 30 s, then each full minute. */
export function nextNotice(waitedMs: number): number {
  if (waitedMs < 10_000) return 10_000;
  if (waitedMs < 30_000) return 30_000;
  return (Math.floor(waitedMs / 60_000) + 1) * 60_000;
}

/**
 * What is waited for: `Waiting for process 123, which is making the same (for 2 min 10 s)`. Of a holder that cannot be
 * looked up it says more: for how long it has been silent, and what a person who knows better can do.
 *
 * @param waitedMs How long this process has waited.
 * @returns undefined while there is nothing to tell: a file that says nothing now may do so in a moment.
 */
export function notice({ path, found, state, quietMs }: Obstacle, me: Holder, waitedMs: number): string | undefined {
  const { holder, unreadable } = found;
  if (holder === undefined && unreadable === undefined && waitedMs < QUIET_MS) return undefined;
  const whom = holder ? nameOf(holder, me) : "a process that the lock does not name";
  const notes = waitedMs < 10_000 ? [] : [`for ${duration(waitedMs)}`];
  if (unreadable !== undefined) notes.push(`the lock cannot be read: ${unreadable}`);
  if (state === "unknown") {
    if (quietMs >= QUIET_MS) notes.push(`it has shown no sign of life for ${duration(quietMs)}`);
    notes.push(`if it is known to be gone, remove ${JSON.stringify(path)}`);
  }
  return `Waiting for ${whom}, which is making the same${notes.length === 0 ? "" : ` (${notes.join("; ")})`}`;
}

/** What is said by one who only wants to know whether a holder lives that cannot be looked up. */
export function watchNotice({ path, found }: Obstacle, me: Holder, silentMs: number): string {
  const whom = found.holder ? nameOf(found.holder, me) : "whoever holds it";
  return `Watching ${JSON.stringify(path)} for a sign of life of ${whom}, up to ${duration(silentMs)}`;
}

/** A holder, as far as its number means something to who reads it. */
export function nameOf(holder: Holder, me: Holder): string {
  if (sharesProcesses(holder, me)) return `process ${holder.pid}`;
  const elsewhere = holder.host === me.host ? " in another container, or before a restart," : "";
  return `process ${holder.pid}${elsewhere} on ${JSON.stringify(holder.host)}`;
}

function duration(milliseconds: number): string {
  const seconds = Math.round(milliseconds / 1000);
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

import type { Obstacle } from "./lock-file.js";
import { nextNotice, notice } from "./lock-notice.js";

const me = { pid: 1, host: "here", started: "5", boot: "b", pidNamespace: "n", token: "0".repeat(32) };

/** What is said of an obstacle. */
function said(holder: object | undefined, waitedMs: number, obstacle: Partial<Obstacle> = {}): string | undefined {
  const found = { identity: "", isFolder: false, unreadable: undefined, holder: holder && { ...me, ...holder } };
  return notice({ path: "/store/x.lock", state: "unknown", quietMs: 0, found, ...obstacle }, me, waitedMs);
}

describe("notice()", () => {
  test("names a process of this machine, and says for how long it has waited", () => {
    expect(said({ pid: 123 }, 0, { state: "held" })).toBe("Waiting for process 123, which is making the same");
    expect(said({ pid: 123 }, 130_400, { state: "held" })).toBe(
      "Waiting for process 123, which is making the same (for 2 min 10 s)",
    );
  });

  test("says of one elsewhere since when it is silent, and which file to remove", () => {
    const remove = 'if it is known to be gone, remove "/store/x.lock"';
    expect(said({ host: "far" }, 0)).toBe(`Waiting for process 1 on "far", which is making the same (${remove})`);
    expect(said({ host: "far" }, 60_000, { quietMs: 59_700 })).toBe(
      `Waiting for process 1 on "far", which is making the same (for 1 min 0 s; it has shown no sign of life for 1 min 0 s; ${remove})`,
    );
    for (const other of [{ boot: "c" }, { pidNamespace: "m" }])
      expect(said(other, 0)).toContain('process 1 in another container, or before a restart, on "here"');
  });

  test("says nothing of a file that says nothing, until that lasts", () => {
    expect(said(undefined, 500)).toBeUndefined();
    expect(said(undefined, 10_000)).toContain("Waiting for a process that the lock does not name");
  });
});

test("nextNotice() comes after 10 s, 30 s and then each minute", () => {
  const times = [nextNotice(0)];
  while (times.length < 5) times.push(nextNotice(times.at(-1) ?? 0));
  expect(times).toEqual([10_000, 30_000, 60_000, 120_000, 180_000]);
  expect(nextNotice(95_000)).toBe(120_000); // one that was asleep does not catch up
});

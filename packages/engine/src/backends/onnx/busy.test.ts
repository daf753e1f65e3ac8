import { BusyWatch } from "./busy.js";

/** A machine whose time the test decides. */
class Machine {
  private ms = 0;
  private work = 0;
  private ownWork = 0;
  readonly clock = { now: () => this.ms, machine: () => this.work, own: () => this.ownWork };

  /** Time passes, with some cores at work for this process and some for others. */
  pass(ms: number, own: number, others: number): void {
    this.ms += ms;
    this.ownWork += ms * own;
    this.work += ms * (own + others);
  }
}

describe("BusyWatch", () => {
  const machine = (): { at: Machine; watch: BusyWatch } => {
    const at = new Machine();
    return { at, watch: new BusyWatch(at.clock, 2) };
  };

  test("does not take this process's own work for somebody else's", () => {
    const { at, watch } = machine();
    for (let look = 0; look < 5; look++) {
      at.pass(500, 2, 0.1);
      expect(watch.isBusy()).toBe(false);
    }
  });

  test("knows at once, from the time before the first question", () => {
    const { at, watch } = machine();
    at.pass(300, 0.9, 1);
    expect(watch.isBusy()).toBe(true);
  });

  test("takes the machine for idle where it could not look yet", () => {
    const { at, watch } = machine();
    at.pass(20, 1, 1);
    expect(watch.isBusy()).toBe(false);
    at.pass(100, 1, 1);
    expect(watch.isBusy()).toBe(true);
  });

  test("does not mind others where there are cores for them", () => {
    const { at, watch } = machine();
    at.pass(500, 1, 1);
    expect(watch.isBusy(1)).toBe(false);
    at.pass(500, 1, 1.5);
    expect(watch.isBusy(1)).toBe(true);
    expect(watch.isBusy(2)).toBe(true);
  });

  test("says that the machine is busy after one look, and that it is idle after many", () => {
    const { at, watch } = machine();
    at.pass(500, 2, 0);
    expect(watch.isBusy()).toBe(false);
    at.pass(500, 1.3, 0.7);
    expect(watch.isBusy()).toBe(true);
    const answers = Array.from({ length: 10 }, () => {
      at.pass(500, 2, 0);
      return watch.isBusy();
    });
    expect(answers).toEqual([...new Array<boolean>(9).fill(true), false]);
  });
});

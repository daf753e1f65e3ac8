import { setTimeout as sleep } from "node:timers/promises";
import { Memory } from "./memory.js";
import { mapOrdered } from "./ordered.js";

async function* numbers(count: number, taken: number[] = [], closed: string[] = []): AsyncGenerator<number> {
  try {
    for (let i = 0; i < count; i++) {
      taken.push(i);
      yield i;
    }
  } finally {
    closed.push("closed");
  }
}

describe("mapOrdered()", () => {
  test("keeps the order, and no more under way than it may", async () => {
    let [underWay, most] = [0, 0];
    const make = async (i: number): Promise<number> => {
      most = Math.max(most, ++underWay);
      await sleep((i * 7) % 5);
      underWay--;
      return i * 10;
    };
    const results: number[] = [];
    for await (const result of mapOrdered(numbers(20), 4, make)) results.push(result);
    expect(results).toEqual(Array.from({ length: 20 }, (_, i) => i * 10));
    expect(most).toBe(4);
  });

  test("waits for what is under way, and closes the source, when it ends early", async () => {
    const [taken, closed, done]: [number[], string[], number[]] = [[], [], []];
    const make = async (i: number): Promise<number> => {
      await sleep(5);
      done.push(i);
      return i;
    };
    for await (const result of mapOrdered(numbers(20, taken, closed), 3, make)) if (result === 1) break;
    expect(closed).toEqual(["closed"]);
    expect(done).toEqual(taken);
    expect(taken.length).toBeLessThanOrEqual(5);
  });

  test("throws the first error in order", async () => {
    const make = async (i: number): Promise<number> => {
      await sleep(i === 3 ? 10 : 0);
      if (i >= 3) throw new Error(`error of ${i}`);
      return i;
    };
    const results: number[] = [];
    const run = async (): Promise<void> => {
      for await (const result of mapOrdered(numbers(20), 8, make)) results.push(result);
    };
    await expect(run()).rejects.toThrow("error of 3");
    expect(results).toEqual([0, 1, 2]);
  });
});

describe("Memory", () => {
  test("lets jobs share what there is, in their order", async () => {
    const memory = new Memory(10);
    let [used, most] = [0, 0];
    const started: number[] = [];
    const job = (bytes: number): Promise<void> =>
      memory.with(bytes, async () => {
        started.push(bytes);
        most = Math.max(most, (used += bytes));
        await sleep(2);
        used -= bytes;
      });
    await Promise.all([4, 4, 9, 1, 1, 10, 2].map(job));
    expect(started).toEqual([4, 4, 9, 1, 1, 10, 2]);
    expect(most).toBe(10);
  });

  test("runs a job that wants more than all of it, alone", async () => {
    const memory = new Memory(10);
    let running = 0;
    const job = (bytes: number): Promise<number> =>
      memory.with(bytes, async () => {
        const others = running++;
        await sleep(2);
        running--;
        return others;
      });
    expect(await Promise.all([2, 100, 2].map(job))).toEqual([0, 0, 0]);
  });

  test("gives back what a failed job had", async () => {
    const memory = new Memory(10);
    const fail = (): Promise<never> => Promise.reject(new Error("no"));
    await expect(memory.with(10, fail)).rejects.toThrow("no");
    expect(await memory.with(10, async () => "next")).toBe("next");
  });
});

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { duration, openLog } from "./log.js";
import { bench } from "./testing.js";

describe("openLog()", () => {
  test("writes lines for people and events for programs", async () => {
    await using on = await bench();
    const file = join(on.root, "logs", "events.jsonl");
    using log = openLog({ name: "train", stream: on.stream, file });
    log.info("started");
    log.warn("slow disk");
    for (let i = 0; i <= 100; i++) log.progress("steps", i, 100, { loss: "0.5" });
    expect(on.said()).toBe("train: started\ntrain: warning: slow disk\ntrain: 100/100 steps  loss 0.5\n");
    const events = (await readFile(file, "utf8"))
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as object);
    expect(events).toHaveLength(103);
    expect(events[2]).toMatchObject({ progress: "steps", done: 0, total: 100, loss: "0.5" });
  });
});

test.each([
  [0.04, "0.0 s"],
  [8.25, "8.3 s"],
  [59.4, "59 s"],
  [200, "3 min 20 s"],
  [7500, "2 h 5 min"],
])("duration(%d) is %s", (seconds, text) => expect(duration(seconds)).toBe(text));

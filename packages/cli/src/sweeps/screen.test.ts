import { PassThrough } from "node:stream";
import { openScreen } from "./screen.js";

/** A sweep's lines: three stages, one of which fails, as a terminal or a file gets them. */
function said(isTTY: boolean): string {
  let text = "";
  const stream = Object.assign(new PassThrough(), { isTTY, columns: 200, cursorTo: () => true, clearLine: () => true });
  stream.on("data", (some: Buffer) => (text += some.toString()));
  Object.assign(stream, { moveCursor: () => true });
  const io = { out: () => undefined, err: (line: string) => void (text += line), stream: stream as never };
  using screen = openScreen("steps", io);
  screen.line("steps: 2 points, 3 stages");
  screen.ofStage("2 points", "train: working in a folder");
  screen.ended("steps: train of 2 points made; 1 of 3 stages", { done: 1, total: 3, points: "0 of 2 points" }, false);
  screen.ofStage("steps-4", "sample: 5/64 images  ETA 3 s");
  screen.ofStage("steps-4", "sample: warning: odd");
  screen.ended("steps: sample of steps-4 failed; 2 of 3", { done: 2, total: 3, points: "0 of 2 points" }, true);
  screen.ended("steps: sample of steps-8 made; 3 of 3", { done: 3, total: 3, points: "1 of 2 points" }, false);
  return text;
}

describe("openScreen()", () => {
  test("writes a line for everything where there is no terminal", () => {
    expect(said(false).trim().split("\n")).toEqual([
      "steps: 2 points, 3 stages",
      "[2 points] train: working in a folder",
      "steps: train of 2 points made; 1 of 3 stages",
      "[steps-4] sample: 5/64 images  ETA 3 s",
      "[steps-4] sample: warning: odd",
      "steps: sample of steps-4 failed; 2 of 3",
      "steps: sample of steps-8 made; 3 of 3",
    ]);
  });

  test("draws one bar over all stages on a terminal, and lines of what is out of the ordinary", () => {
    const text = said(true);
    expect(text).toContain("steps: 2 points, 3 stages\n");
    expect(text).toMatch(/steps: █+░+ 1\/3 stages .* done 0 of 2 points/);
    expect(text).toMatch(/█ 3\/3 stages/);
    expect(text).toContain("steps: [steps-4] sample: warning: odd\n");
    expect(text).toContain("steps: sample of steps-4 failed; 2 of 3\n");
    expect(text).not.toContain("working in");
    expect(text).not.toContain("sample: 5/64");
  });
});

import { nearest } from "./nearest.js";

test.each([
  ["stepps", "steps"],
  ["setps", "steps"], // two letters that changed places
  ["Steps", "steps"],
  ["batch-image", "batch-images"],
  ["lr", undefined],
  ["x", undefined],
  ["", undefined],
  ["something-else", undefined],
  ["e".repeat(10_000), undefined],
])("nearest() takes %j for %j", (word, meant) => {
  expect(nearest(word, ["seed", "steps", "batch-images"])).toBe(meant);
});
